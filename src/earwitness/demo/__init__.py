"""A made-up workspace, small enough to make on the spot, and its run through a workflow."""
