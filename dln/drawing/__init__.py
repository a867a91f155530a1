"""Pictures of networks: what is drawn as a record, where it stands, then SVG, PNG, DOT, Mermaid."""
