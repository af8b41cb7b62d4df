//! Makes `docs/faults.md`, on standard output, of the record of faults on standard input:
//! `faults SEEN [FORMER-PAGE]`. SEEN says when that was and in which revision; rows of the former page that the record
//! does not have stay.

use std::error::Error;
use std::io::{read_to_string, stdin};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seen = arguments.next().ok_or("say when it was seen, and in which revision")?;
    let former = arguments.next().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
    print!("{}", muster_testkit::fault_record::page(&former, &read_to_string(stdin())?, &seen)?);
    Ok(())
}
