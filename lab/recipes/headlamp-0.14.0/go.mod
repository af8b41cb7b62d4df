module muster.local/bundle/headlamp

go 1.21
