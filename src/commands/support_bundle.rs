//! `muster support-bundle`: what somebody needs who is to find out what is wrong with a cluster.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use muster_app::Records;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::admin_conf;
use crate::args::{ConnectionArgs, InventoryArgs};
use crate::environment::{Environment, shown};
use crate::error::{CommandError, EXIT_CODES, Exit};
use crate::machines::{Machines, exit_of, run_program};
use crate::output::{print, text};
use crate::redact::without_secrets;

/// Gather what tells why a cluster is as it is, in one archive: for a bug report, or to ask somebody
///
/// It holds, of each machine, its system, network, units and their journals, configuration files, and the logs of the system's pods;
/// of the cluster its nodes, objects and events; of this computer the groups of the inventory and the last five runs. Secrets of the
/// cluster are not read. Private keys, tokens, and what stands behind words such as password are taken out of all texts. Names and
/// addresses of machines, and names of namespaces and pods, stay: look at it before you hand it on.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct SupportBundleArgs {
    /// Which hosts: a name, or a pattern such as kube_control_plane:node7
    #[arg(value_name = "HOST", default_value = "all")]
    pattern: String,
    /// Where the archive goes [default: muster-support-DATE.tar.gz in this folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    inventory: InventoryArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The line in front of each part of what a machine prints, before the part's name.
const PART: &str = "=== muster part ";

/// How long a machine has, in which some of its parts may not answer.
const LIMIT: Duration = Duration::from_secs(300);

/// How many runs are told of.
const RUNS: usize = 5;

/// Runs `muster support-bundle`.
pub(crate) fn run(args: SupportBundleArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let machines = Machines::choose(&args.pattern, &args.inventory, &args.connection, environment)?;
    let now = OffsetDateTime::now_utc();
    let date =
        now.format(format_description!("[year][month][day]-[hour][minute][second]")).unwrap_or_default();
    let name = format!("muster-support-{date}");
    let path = args.output.unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    print::note(&format!("gathering from {}", text::some_names(&machines.hosts)));
    let answers = machines.each(environment, |ssh| async move {
        run_program(ssh, include_str!("support_bundle.sh"), LIMIT).await
    })?;
    let mut files = here(&machines);
    for (host, answer) in &answers {
        match answer {
            Ok(exit) => files.extend(parts(host, &String::from_utf8_lossy(&exit.stdout))),
            Err(error) => {
                print::note(&format!("{host}: {error}"));
                files.insert(format!("{host}/not-reached.txt"), format!("{error}\n"));
            }
        }
    }
    let archive = packed(&name, &files, now.unix_timestamp())
        .map_err(|error| CommandError::failed(format!("cannot make the archive: {error}")))?;
    admin_conf::write(&path, 0o600, &mut archive.as_slice())?;
    print::note(&format!(
        "{}: {} texts, {} KB; secrets were taken out as far as they look like some: look at it before you hand it on \
         (tar -tzf {})",
        shown(&path),
        files.len(),
        archive.len().div_ceil(1024),
        path.display()
    ));
    Ok(exit_of(answers.iter().map(|(_, answer)| answer)))
}

/// What this computer knows.
fn here(machines: &Machines) -> BTreeMap<String, String> {
    let mut about = format!("muster {}\n\ngroups:\n", env!("CARGO_PKG_VERSION"));
    let inventory = &machines.world.inventory;
    for group in inventory.groups() {
        writeln!(about, "{}: {}", group.name(), inventory.group(group.name()).join(" ")).ok();
    }
    let mut files = BTreeMap::from([("inventory.txt".to_owned(), about)]);
    let records = Records::of(&machines.world.project);
    for id in records.ids().iter().rev().take(RUNS) {
        let text = std::fs::read_to_string(records.path(id)).unwrap_or_default();
        files.insert(format!("runs/{id}.jsonl"), text);
    }
    files
}

/// The parts of what a machine has printed, as files.
fn parts(host: &str, printed: &str) -> BTreeMap<String, String> {
    let begins = printed.split(PART).skip(1);
    let part = |text: &str| {
        let (name, text) = text.split_once('\n')?;
        // A name is the machine's word: it leads to no other folder.
        let name = Path::new(name).components().filter_map(|component| match component {
            std::path::Component::Normal(name) => name.to_str(),
            _ => None,
        });
        let name = name.collect::<Vec<_>>().join("/");
        let ending = if Path::new(&name).extension().is_some() { "" } else { ".txt" };
        (!name.is_empty() && !text.trim().is_empty())
            .then(|| (format!("{host}/{name}{ending}"), text.to_owned()))
    };
    begins.filter_map(part).collect()
}

/// The archive of some texts, below a folder, without what must not be handed on.
fn packed(folder: &str, files: &BTreeMap<String, String>, time: i64) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, text) in files {
        let text = without_secrets(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(time.unsigned_abs());
        archive.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_a_machine_printed_becomes_files_below_its_name_without_secrets() {
        let printed = "shell says hello\n=== muster part journal-kubelet\nstarted\ntoken=SECRET\n=== muster part etc/etcd.env\nA=1\n\
                       === muster part empty\n=== muster part ../../escape\nx\n";
        let files = parts("node1", printed);
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["node1/escape.txt", "node1/etc/etcd.env", "node1/journal-kubelet.txt"]);
        let archive = packed("bundle", &files, 1).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
        let mut all = String::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert!(entry.path().unwrap().starts_with("bundle/node1"));
            entry.read_to_string(&mut all).unwrap();
        }
        assert!(all.contains("started\ntoken=[taken out]\n") && !all.contains("SECRET"), "{all}");
    }
}
