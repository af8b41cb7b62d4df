//! NetworkManager, where it is at work, leaves calico's interfaces alone: it would take routes and addresses from them that it has not
//! given them (calico's documentation, "Configure NetworkManager").

use muster_engine::prelude::*;

const FILE: &str = "/etc/NetworkManager/conf.d/muster-calico.conf";
/// Says that it was told: a file alone may have come just before a run was cut off.
const TOLD: &str = "/var/lib/muster/stamps/network-manager";

const CONTENT: &str = "# Written by muster: these are calico's.
[keyfile]
unmanaged-devices+=interface-name:cali*;interface-name:tunl*;interface-name:vxlan.calico";

const TELL: &str = r#"path=$1 told=$2 content=$3
mkdir -p "${path%/*}" "${told%/*}"
rm -f "$told"
printf '%s\n' "$content" >"$path.new"
sync "$path.new"
mv -f "$path.new" "$path"
systemctl reload NetworkManager
: >"$told""#;

const IS_TOLD: &str = r#"[ -d /etc/NetworkManager ] || exit 0
[ -e "$2" ] && [ "$(cat "$1")" = "$3" ] || ! systemctl -q is-active NetworkManager"#;

const FORGET: &str = r#"rm -f "$1"
! systemctl -q is-active NetworkManager || systemctl reload NetworkManager
rm -f "$2""#;

const IS_FORGOTTEN: &str = r#"[ ! -e "$1" ] && [ ! -e "$2" ]"#;

/// It is told.
pub(crate) fn interfaces_left_alone() -> Command {
    let paths = [FILE, TOLD, CONTENT];
    command("NetworkManager leaves calico's interfaces alone", sh(TELL, paths), sh(IS_TOLD, paths))
}

/// It is not told any more.
pub(crate) fn interfaces_of_nobody() -> Command {
    removal(format!("file {FILE}"), sh(FORGET, [FILE, TOLD]), sh(IS_FORGOTTEN, [FILE, TOLD]))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn network_manager_is_told_where_it_is_at_work_and_told_nothing_any_more_by_a_reset() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let here = root.path().display().to_string();
            let [file, told] = [FILE, TOLD].map(|path| format!("{here}{path}"));
            let run = |program: &str| {
                let program = program.replace(" /etc/", &format!(" {here}/etc/"));
                let fakes = format!(
                    "systemctl() {{ case $* in *is-active*) [ -e {here}/active ] ;; *) echo \"$*\" >>{here}/done ;; esac; }}\n"
                );
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-euc", &(fakes + &program), "sh", &file, &told, CONTENT]);
                command.output().unwrap().status.success()
            };
            let done = || fs::read_to_string(format!("{here}/done")).unwrap_or_default();
            assert!(run(IS_TOLD), "{shell:?}: it is not there");
            fs::create_dir_all(format!("{here}/etc/NetworkManager")).unwrap();
            assert!(run(IS_TOLD), "{shell:?}: it is not at work");
            fs::write(format!("{here}/active"), "").unwrap();
            assert!(!run(IS_TOLD) && run(TELL) && run(IS_TOLD), "{shell:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("{CONTENT}\n"), "{shell:?}");
            assert_eq!(done(), "reload NetworkManager\n", "{shell:?}");
            // Cut off before it was told.
            fs::remove_file(&told).unwrap();
            assert!(!run(IS_TOLD) && run(TELL) && run(IS_TOLD), "{shell:?}");
            assert!(!run(IS_FORGOTTEN) && run(FORGET) && run(IS_FORGOTTEN), "{shell:?}");
            assert_eq!(done(), "reload NetworkManager\n".repeat(3), "{shell:?}");
        }
    }
}
