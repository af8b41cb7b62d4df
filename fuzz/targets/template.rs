//! A template.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/inventory/tests/entry/mod.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|text: &str| entry::template(text));
