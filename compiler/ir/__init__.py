"""Values before they have values: sizes, types, the graph, its operations and their meaning."""
