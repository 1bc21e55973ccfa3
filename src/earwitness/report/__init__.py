"""Tables, charts and the report page."""
