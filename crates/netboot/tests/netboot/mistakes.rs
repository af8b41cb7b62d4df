//! Mistakes, each with what is said of it: `mistakes.txt` has the configurations, the snapshot the messages.

use muster_netboot::{Config, LocalFiles};

#[test]
fn every_mistake_is_told_with_its_place_and_with_what_was_meant() {
    let mut told = String::new();
    for case in include_str!("mistakes.txt").split("=== ").skip(1) {
        let (title, text) = case.split_once('\n').unwrap();
        // Most are about one section; those that are about the beginning write it themselves.
        let whole = match title.split_once(": ").map_or("", |(format, _)| format) {
            "fcos" => format!("variant: fcos\nversion: 1.5.0\n{text}"),
            "flatcar" => format!("variant: flatcar\nversion: 1.1.0\n{text}"),
            _ => text.to_owned(),
        };
        match Config::read("pc.yml", &whole, &LocalFiles { dir: Some("/nowhere".into()) }) {
            Ok(_) => panic!("{title}: nothing was found"),
            Err(mistakes) => told.push_str(&format!("=== {title}\n{mistakes}\n\n")),
        }
    }
    insta::assert_snapshot!(told.trim_end());
}
