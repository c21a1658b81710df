"""What the operator's side shows, as facts; API, command line and page share them."""
