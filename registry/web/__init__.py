"""The service: REST, transparency-log tiles and server-rendered pages over one registry."""
