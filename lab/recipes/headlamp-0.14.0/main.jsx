// What holds Headlamp's pages together, in the place of its own App and Layout, which are not in its package for plugins: the cluster
// that the server tells of, the sidebar, and the page that the address says.
//
// The whole package comes first: its modules need each other, and begin in the order in which this one takes them.
import '@kinvolk/headlamp-plugin/lib/index.js';
import '@kinvolk/headlamp-plugin/lib/i18n/config.js';
import Box from '@mui/material/Box';
import CssBaseline from '@mui/material/CssBaseline';
import { ThemeProvider } from '@mui/material/styles';
import { QueryClientProvider } from '@tanstack/react-query';
import { SnackbarProvider } from 'notistack';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { Provider } from 'react-redux';
import { BrowserRouter } from 'react-router-dom';
import RouteSwitcher, { PreviousRouteProvider } from '@kinvolk/headlamp-plugin/lib/components/App/RouteSwitcher.js';
import { useCurrentAppTheme } from '@kinvolk/headlamp-plugin/lib/components/App/themeSlice.js';
import Sidebar from '@kinvolk/headlamp-plugin/lib/components/Sidebar/index.js';
import { queryClient } from '@kinvolk/headlamp-plugin/lib/lib/queryClient.js';
import { createMuiTheme } from '@kinvolk/headlamp-plugin/lib/lib/themes.js';
import { setConfig } from '@kinvolk/headlamp-plugin/lib/redux/configSlice.js';
import store from '@kinvolk/headlamp-plugin/lib/redux/stores/store.js';

function Pages() {
  const theme = useCurrentAppTheme();
  return (
    <ThemeProvider theme={createMuiTheme(theme)}>
      <CssBaseline />
      <SnackbarProvider>
        <BrowserRouter>
          <PreviousRouteProvider>
            <Box sx={{ display: 'flex', height: '100vh' }}>
              <Sidebar />
              <Box component="main" sx={{ flexGrow: 1, overflow: 'auto', padding: 2 }}>
                <RouteSwitcher requiresToken={() => true} />
              </Box>
            </Box>
          </PreviousRouteProvider>
        </BrowserRouter>
      </SnackbarProvider>
    </ThemeProvider>
  );
}

const answer = await fetch('/config');
const { clusters } = await answer.json();
store.dispatch(setConfig({ clusters: Object.fromEntries(clusters.map(cluster => [cluster.name, cluster])) }));
createRoot(document.getElementById('root')).render(
  <Provider store={store}>
    <QueryClientProvider client={queryClient}>
      <Pages />
    </QueryClientProvider>
  </Provider>
);
