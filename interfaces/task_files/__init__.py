"""Tasks as files that people keep: YAML and JSON, and crontabs that are taken over."""
