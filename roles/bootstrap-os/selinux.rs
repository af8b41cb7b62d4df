//! SELinux, where a machine has it at work: `preinstall_selinux_state`, now and after a restart. How it was is kept, and put back.

use muster_engine::prelude::*;
use serde::Deserialize;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(super) struct Vars {
    preinstall_selinux_state: Option<String>,
}

/// Holds how it was: whether it enforced (1 or 0), and in a second line what its configuration said.
const BEFORE: &str = "/var/lib/muster/stamps/selinux";

const SET: &str = concat!(
    include_str!("selinux.sh"),
    r#"if [ ! -e "$3" ]; then
  mkdir -p "${3%/*}"
  # The file of the kernel has no end of line.
  echo "$(cat /sys/fs/selinux/enforce)" >"$3.new"
  sed -n 's/^SELINUX=//p' /etc/selinux/config 2>/dev/null | tail -n 1 >>"$3.new"
  sync "$3.new"
  mv -f "$3.new" "$3"
fi
config_says "$1"
is_now "$2""#
);

const IS_SET: &str = r#"
[ "$(cat /sys/fs/selinux/enforce)" = "$2" ] || exit 1
[ ! -e /etc/selinux/config ] || [ "$(sed -n 's/^SELINUX=//p' /etc/selinux/config | tail -n 1)" = "$1" ]"#;

const PUT_BACK: &str = concat!(
    include_str!("selinux.sh"),
    r#"now='' word=''
{ read -r now && read -r word || :; } <"$1"
[ -z "$word" ] || config_says "$word"
if [ -e /sys/fs/selinux/enforce ]; then
  is_now "$now"
elif [ "$word" != disabled ]; then
  # It was off since a restart: files that were made meanwhile get their labels at the next one.
  : >/.autorelabel
fi
rm -f "$1""#
);

/// It is as the variable says; as it was before where nothing is said. Where SELinux is not at work it is left as it is.
pub(super) fn wanted(host: &Host) -> Result<Option<Command>> {
    let vars: Vars = host.vars()?;
    Ok(match vars.preinstall_selinux_state {
        None => Some(as_before()),
        Some(state) => (!host.facts().selinux.is_empty()).then(|| set(&state)),
    })
}

/// One that is to be off enforces nothing until the next restart: a kernel that runs does not give it up.
fn set(state: &str) -> Command {
    let enforces = if state == "enforcing" { "1" } else { "0" };
    command(format!("SELinux is {state}"), sh(SET, [state, enforces, BEFORE]), sh(IS_SET, [state, enforces]))
}

/// SELinux is as it was before.
pub(super) fn as_before() -> Command {
    command("SELinux as before", sh(PUT_BACK, [BEFORE]), sh(r#"[ ! -e "$1" ]"#, [BEFORE]))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    const CONFIG: &str = "# theirs\nSELINUX=enforcing\nSELINUXTYPE=targeted\n";

    #[test]
    fn it_becomes_what_is_asked_for_and_then_what_it_was() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            for folder in ["sys", "etc/selinux"] {
                fs::create_dir_all(at(folder)).unwrap();
            }
            let run = |program: &str, arguments: &[&str]| {
                let folder = root.path().display();
                let program = program
                    .replace("/sys/fs/selinux", &format!("{folder}/sys"))
                    .replace("/etc/selinux", &format!("{folder}/etc/selinux"))
                    .replace("/.autorelabel", &format!("{folder}/.autorelabel"));
                let mut command = Command::new(shell[0]);
                command
                    .args(&shell[1..])
                    .args(["-euc", &program, "sh"])
                    .args(arguments)
                    .status()
                    .unwrap()
                    .success()
            };
            let (enforce, config) = (at("sys/enforce"), at("etc/selinux/config"));
            let read = || (fs::read_to_string(&enforce).unwrap(), fs::read_to_string(&config).unwrap());
            let kept = at("kept/selinux").display().to_string();
            // The kernel's file has no end of line.
            fs::write(&enforce, "1").unwrap();
            fs::write(&config, CONFIG).unwrap();
            for (state, number) in
                [("permissive", "0"), ("disabled", "0"), ("enforcing", "1"), ("permissive", "0")]
            {
                assert!(!run(IS_SET, &[state, number]), "{shell:?} {state}");
                assert!(
                    run(SET, &[state, number, &kept]) && run(IS_SET, &[state, number]),
                    "{shell:?} {state}"
                );
                let text = CONFIG.replace("=enforcing", &format!("={state}"));
                assert_eq!(read().1, text, "{shell:?}");
            }
            assert_eq!(fs::read_to_string(&kept).unwrap(), "1\nenforcing\n", "that of before, {shell:?}");
            assert!(run(PUT_BACK, &[&kept]) && !fs::exists(&kept).unwrap(), "{shell:?}");
            assert_eq!(read(), ("1\n".into(), CONFIG.to_owned()), "{shell:?}");

            // It is off since a restart.
            assert!(run(SET, &["disabled", "0", &kept]));
            fs::remove_file(&enforce).unwrap();
            assert!(run(PUT_BACK, &[&kept]) && fs::exists(at(".autorelabel")).unwrap(), "{shell:?}");
            assert_eq!(fs::read_to_string(&config).unwrap(), CONFIG);
        }
    }
}
