//! `muster init`: an inventory and variables to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use muster_app::{CLUSTER, INVENTORY_DIR, INVENTORY_FILE};
use muster_engine::script::quote;
use muster_roles::ROLES;
use muster_roles::reference::{Section, sections};

use crate::args::ConnectionArgs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::host_arguments::{inventory_text, parse};
use crate::output::print;

/// Write a sample inventory, and every variable with its default and explanation, commented out
///
/// The files are inventory/hosts.ini, inventory/group_vars/all.yml and inventory/group_vars/k8s_cluster.yml.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder; it is made if it is not there
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Runs `muster init`.
pub(crate) fn run(args: InitArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let root = environment.here()?.join(&args.dir);
    let folder = root.join(INVENTORY_DIR);
    let (all, cluster) = variables()?;
    let files = [
        (folder.join(INVENTORY_FILE), inventory()?),
        (folder.join("group_vars/all.yml"), all),
        (folder.join("group_vars/k8s_cluster.yml"), cluster),
    ];
    // Folders of the same name hold variables, too, and would be hidden or hide these.
    let hidden =
        ["group_vars/all", "group_vars/k8s_cluster", "group_vars/k8s-cluster", "group_vars/k8s-cluster.yml"];
    let places = files.iter().map(|(path, _)| path.clone()).chain(hidden.map(|name| folder.join(name)));
    let there: Vec<String> =
        places.filter(|path| path.symlink_metadata().is_ok()).map(|path| shown(&path)).collect();
    if !there.is_empty() {
        let are = if there.len() == 1 { "is" } else { "are" };
        return Err(CommandError::usage(format!("{} {are} there already", there.join(", ")))
            .hint("nothing was written; name another folder: muster init DIR")
            .hint("see the variables and their defaults: muster docs vars"));
    }
    for (path, text) in files {
        write(&path, &text)?;
        print::note(&format!("wrote {}", shown(&path)));
    }
    let go =
        if root == environment.here()? { String::new() } else { format!("cd {} && ", quote(&shown(&root))) };
    print::note(&format!(
        "next: name the machines in {}, then: {go}setup-cluster",
        shown(&folder.join(INVENTORY_FILE))
    ));
    Ok(Exit::Done)
}

/// The inventory that `setup-cluster` writes for three machines, with the machines commented out.
fn inventory() -> Result<String, CommandError> {
    let hosts = parse(&["192.0.2.11", ".12", ".13"].map(str::to_owned))?;
    let text = inventory_text(&hosts, "muster init", &ConnectionArgs::default());
    // What it says for all machines is among the variables.
    let groups = text.split("[all:vars]").next().unwrap_or_default();
    let is_host = |line: &str| hosts.iter().any(|host| line.split(' ').next() == Some(host.name.as_str()));
    let line = |line: &str| if is_host(line) { format!("#{line}\n") } else { format!("{line}\n") };
    Ok(groups.trim_end().lines().map(line).collect())
}

/// The files of variables: those for all machines, and those that matter on members of the cluster only.
fn variables() -> Result<(String, String), CommandError> {
    // The roles' places are those of the playbook that is compiled in.
    let plays = CLUSTER.load(Path::new(""), ROLES)?;
    let of_cluster = |section: &Section| {
        let reads = |roles: &[String]| section.roles.iter().any(|role| roles.iter().any(|of| of == role));
        let mut hosts =
            plays.iter().filter(|play| reads(&play.roles)).map(|play| play.hosts.as_str()).peekable();
        hosts.peek().is_some()
            && hosts.all(|hosts| ["k8s_cluster", "kube_control_plane", "kube_node"].contains(&hosts))
    };
    let (cluster, all): (Vec<_>, Vec<_>) = sections().into_iter().partition(of_cluster);
    Ok((
        file("all machines", &all),
        file(
            "the machines in k8s_cluster: control planes and nodes, not those that only hold etcd",
            &cluster,
        ),
    ))
}

fn file(whose: &str, sections: &[Section]) -> String {
    let mut text = format!(
        "# Variables of {whose}.\n\
         # A line that begins with # and a name is a variable with its default. To change it, remove the # and edit the value.\n\
         # Written by: muster init. To see the values of a host and where they come from: muster vars HOST --explain\n"
    );
    for section in sections {
        text.push_str(&format!("\n\n# ---- {} ----\n", section.summary));
        for paragraph in &section.paragraphs {
            text.push('\n');
            for line in &paragraph.explanation {
                text.push_str(format!("# {line}").trim_end());
                text.push('\n');
            }
            for variable in &paragraph.variables {
                let sign = if variable.has_default { "#" } else { "# Not set; for example  " };
                text.push_str(&format!("{sign}{}: {}\n", variable.name, variable.value));
            }
        }
    }
    text
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| CommandError::failed(format!("cannot write {}: {error}", path.display())))
}
