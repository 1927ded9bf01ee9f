"""What a traced graph is rewritten with, so that every operation has one plain form."""
