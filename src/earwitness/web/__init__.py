"""A local web page that scores songs and shows runs."""
