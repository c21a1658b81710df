"""Messages that wait: how long, for what, what their authors are told, who calls them back."""
