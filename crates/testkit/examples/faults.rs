//! The record of faults on standard input, as a table in Markdown: `./test` makes `docs/faults.md` with it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", muster_testkit::fault_record::table(&std::io::read_to_string(std::io::stdin())?)?);
    Ok(())
}
