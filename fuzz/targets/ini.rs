//! An inventory in INI form.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/inventory/tests/entry/mod.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|text: &str| entry::inventory("hosts.ini", text));
