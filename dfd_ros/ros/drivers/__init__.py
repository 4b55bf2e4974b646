"""Camera drivers of others: what the focus bridge needs to know of them, and how it talks to them."""
