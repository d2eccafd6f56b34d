"""How the world reaches the service; `bootstrap` puts it together."""
