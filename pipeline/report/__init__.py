"""A comparison as a page, Markdown, tables and figures."""
