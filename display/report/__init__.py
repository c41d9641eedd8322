"""What a query cost and what held it back: the numbers, the words for them, and tables, pictures and pages of them."""
