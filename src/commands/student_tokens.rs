//! `muster student-tokens`, and the program `student-tokens`: the tokens of students, to be handed on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use muster_app::{Project, World};
use muster_roles::{STUDENT_FILES, end_of, namespace_of, token_in, written};

use crate::args::InventoryArgs;
use crate::commands::words_of;
use crate::environment::{Environment, shown};
use crate::error::{CommandError, Exit};
use crate::output::{CommandLine, print};

/// Print the tokens of students, one a line, as they stand in their kubeconfigs
///
/// The files are those that students create has written on this computer. No machine is contacted.
#[derive(Debug, Args)]
pub(crate) struct StudentTokensArgs {
    /// Students, by their namespace, or by what they are called where that is one word
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    inventory: InventoryArgs,
}

/// Runs `muster student-tokens`.
pub(crate) fn run(args: StudentTokensArgs, environment: &Environment) -> Result<Exit, CommandError> {
    let project = Project::find(&args.inventory.inventory, environment)?;
    let students = words_of("students");
    let again = |name: &str| {
        let words: Vec<&str> = students.split(' ').chain(["create", name]).collect();
        project.command(&words, words.len() - 1)
    };
    let folder = folder(project.clone(), &args.inventory, environment)?;
    let mut tokens = String::new();
    for name in args.names.iter().flat_map(|name| name.split_whitespace()) {
        let path = file_of(&folder, name);
        let text = fs::read_to_string(&path).map_err(|error| {
            CommandError::failed(format!("there is no token of {name} here: {}: {error}", shown(&path)))
                .hint(format!("make one: {}", again(name)))
        })?;
        let token = token_in(&text).and_then(|token| Some((token, end_of(token)?)));
        let (token, until) =
            token.ok_or_else(|| CommandError::failed(format!("{} holds no token", shown(&path))))?;
        if until <= SystemTime::now() {
            return Err(CommandError::failed(format!("the token of {name} has ended, {}", written(until)))
                .hint(format!("make a new one: {}", again(name))));
        }
        tokens.push_str(token);
        tokens.push('\n');
    }
    print::data(&tokens)?;
    Ok(Exit::Done)
}

/// The file of a student: by the namespace, or by what becomes the namespace.
fn file_of(folder: &Path, name: &str) -> PathBuf {
    let named = |name: &str| folder.join(format!("{name}.conf"));
    let exact = named(name);
    match namespace_of(name) {
        Ok(made) if !exact.is_file() => named(&made),
        _ => exact,
    }
}

/// Where the files of the students are.
fn folder(
    project: Project,
    inventory: &InventoryArgs,
    environment: &Environment,
) -> Result<PathBuf, CommandError> {
    let artifacts = project.inventory_dir.join("artifacts");
    let frontend = CommandLine::plain(environment);
    let world = World::load(project, &inventory.into(), environment, &*frontend)?;
    let planes = world.inventory.group("kube_control_plane");
    let set = planes.first().map(|plane| world.vars.host(plane)?.get("artifacts_dir")).transpose()?.flatten();
    let set = set.and_then(|folder| folder.as_str().map(PathBuf::from));
    Ok(set.unwrap_or(artifacts).join(STUDENT_FILES))
}
