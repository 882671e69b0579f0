//! The programs in the README compile: each block is a doctest.
#![doc = include_str!("../../../README.md")]
