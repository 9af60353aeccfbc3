"""The demo: two fictional labs whose every fact is invented, general questions, and what `gag demo` does with them."""
