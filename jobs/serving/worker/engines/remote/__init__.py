"""Models of providers, over HTTP: the engine `remote`."""
