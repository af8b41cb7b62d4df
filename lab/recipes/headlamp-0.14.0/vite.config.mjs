import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import svgr from 'vite-plugin-svgr';

export default defineConfig({
  plugins: [react(), svgr({ include: '**/*.svg' })],
  define: { global: 'globalThis' },
  resolve: { alias: { path: 'path-browserify' } },
  // main.jsx waits for the server at its top level.
  build: { target: 'es2022', chunkSizeWarningLimit: 100000 },
  logLevel: 'error',
});
