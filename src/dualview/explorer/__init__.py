"""The explorer: a page of a network's predictions, from what is computed to what is drawn."""
