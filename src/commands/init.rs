//! `muster init`: an inventory and variables to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use muster_app::{CLUSTER, INVENTORY_DIR, INVENTORY_FILE};
use muster_engine::script::quote;
use muster_openstack::{Converted, Form, check_name, convert};
use muster_roles::ROLES;
use muster_roles::reference::{Section, sections};

use crate::args::ConnectionArgs;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::host_arguments::{inventory_text, parse};
use crate::output::{print, text};

/// Write a sample inventory, and every variable with its default and explanation, commented out
///
/// The files are inventory/hosts.ini, inventory/group_vars/all.yml and inventory/group_vars/k8s_cluster.yml. With --from-clusterctl
/// a declaration is written in their place (docs/clusters.md), and each key that was not taken is told.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder; it is made if it is not there
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Write clusters/NAME/cluster.yml instead, of a file for Cluster API: environment-*.tfvars or clusterctl.yaml
    #[arg(long, value_name = "FILE")]
    from_clusterctl: Option<PathBuf>,
    /// The cluster's name [default: NAME of clusterctl-NAME.yaml, else testcluster]
    #[arg(long, value_name = "NAME", requires = "from_clusterctl")]
    name: Option<String>,
}

/// Runs `muster init`.
pub(crate) fn run(args: InitArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let root = environment.here()?.join(&args.dir);
    if let Some(file) = &args.from_clusterctl {
        return from_clusterctl(file, args.name.as_deref(), &root, environment);
    }
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

/// The name of a cluster of which nobody has said one: that of the scripts for Cluster API.
const USUAL_NAME: &str = "testcluster";

/// Writes the declaration that a file for Cluster API comes to, and tells what of it was not taken.
fn from_clusterctl(
    file: &Path,
    name: Option<&str>,
    root: &Path,
    environment: &Environment,
) -> Result<Exit, CommandError> {
    let failed = |why: String| CommandError::written(why).hint("nothing was written");
    let text = fs::read_to_string(environment.here()?.join(file))
        .map_err(|error| failed(format!("{}: {error}", file.display())))?;
    let form = match file.extension().and_then(|extension| extension.to_str()) {
        Some("tfvars") => Form::Tfvars,
        Some("yaml" | "yml") => Form::Yaml,
        _ => {
            return Err(CommandError::usage(format!(
                "{} is neither a file of Terraform's variables (.tfvars) nor a clusterctl.yaml",
                file.display()
            )));
        }
    };
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = name.or_else(|| stem.strip_prefix("clusterctl-")).unwrap_or(USUAL_NAME);
    check_name(name).map_err(CommandError::usage)?;
    let Converted { text, notes } = convert(&file.display().to_string(), &text, form).map_err(failed)?;
    let path = root.join("clusters").join(name).join("cluster.yml");
    if path.symlink_metadata().is_ok() {
        return Err(CommandError::usage(format!("{} is there already", shown(&path)))
            .hint("nothing was written; name another cluster: --name NAME"));
    }
    write(&path, &text)?;
    print::note(&format!("wrote {}", shown(&path)));
    notes.iter().for_each(|note| print::note(&format!("  {}", text::harmless(note))));
    print::note(&format!("next: complete {}, then: muster cluster plan {name}", shown(&path)));
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
