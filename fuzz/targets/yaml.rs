//! YAML: as an inventory, and as variables.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/inventory/tests/entry/mod.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|text: &str| {
    entry::inventory("hosts.yml", text);
    entry::variables(text);
});
