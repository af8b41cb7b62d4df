module muster.local/bundle/pause

go 1.21
