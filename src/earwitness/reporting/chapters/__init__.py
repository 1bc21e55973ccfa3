"""The chapters of a report, one a file: ``Metrics`` in, a ``Chapter`` out or nothing."""
