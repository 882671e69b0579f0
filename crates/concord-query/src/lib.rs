//! What does this text ask, and what is the cheapest way to answer it from a view?
