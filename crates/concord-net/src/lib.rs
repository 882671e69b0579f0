//! How do nodes find, trust and talk to each other?
