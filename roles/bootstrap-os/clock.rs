//! The machine's clock: the time service that is there is configured and started (`ntp_*`), and where there is none one is installed.
//! Names and meanings of the variables are kubespray's. What a configuration was before is kept, and put back.

use muster_engine::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::proxies;

/// Explained in `defaults.yml`.
#[derive(Deserialize)]
pub(crate) struct Vars {
    ntp_enabled: bool,
    ntp_manage_config: bool,
    ntp_package: String,
    ntp_servers: Vec<String>,
    ntp_timezone: String,
    muster_install_packages: bool,
    package_lock_timeout: u32,
}

impl Vars {
    /// The package of a time service, for machines that have none.
    pub(super) fn package(self) -> Option<String> {
        self.ntp_enabled.then_some(self.ntp_package)
    }
}

/// Prints the time services of a machine, a line each: which it is, its unit, its configuration, and its state.
pub(crate) const LOOK: &str = include_str!("clock_look.sh");

/// Where the configuration of before is kept, with its path and the unit that reads it.
const KEPT: &str = "/var/lib/muster/stamps/clock";

/// A time service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chrony,
    /// OpenBSD's.
    OpenNtpd,
    /// The reference implementation, or NTPsec.
    Ntp,
    /// systemd's, which only asks.
    Timesyncd,
}

/// A time service of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    kind: Kind,
    unit: String,
    config: String,
    /// Its unit does not start on this machine, as a condition of it says.
    refuses: bool,
}

impl Service {
    /// Of those that a machine has the one that is at work, else the first one.
    pub(crate) fn of(seen: &str) -> Option<Self> {
        let parse = |line: &str| {
            let mut words = line.split_whitespace();
            let kind = match words.next()? {
                "chrony" => Kind::Chrony,
                "openntpd" => Kind::OpenNtpd,
                "ntp" => Kind::Ntp,
                "timesyncd" => Kind::Timesyncd,
                _ => return None,
            };
            let (unit, config, state) = (words.next()?.to_owned(), words.next()?.to_owned(), words.next());
            let service = Self { kind, unit, config, refuses: state == Some("refused") };
            Some((service, state == Some("active")))
        };
        let all: Vec<_> = seen.lines().filter_map(parse).collect();
        all.iter().find(|(_, is_active)| *is_active).or(all.first()).map(|(service, _)| service.clone())
    }

    /// What it is told. systemd's and OpenNTPD take names alone, without chrony's and ntpd's options.
    fn configuration(&self, host: &Host, vars: &Vars) -> Result<String> {
        let names: Vec<&str> =
            vars.ntp_servers.iter().filter_map(|server| server.split_whitespace().next()).collect();
        let (name, template) = match self.kind {
            Kind::Chrony => ("chrony.conf.j2", include_str!("templates/chrony.conf.j2")),
            Kind::OpenNtpd => ("openntpd.conf.j2", include_str!("templates/openntpd.conf.j2")),
            Kind::Ntp => ("ntp.conf.j2", include_str!("templates/ntp.conf.j2")),
            Kind::Timesyncd => ("timesyncd.conf.j2", include_str!("templates/timesyncd.conf.j2")),
        };
        host.render(name, template, &json!({ "names": names, "ntpsec": self.config.contains("ntpsec") }))
    }
}

/// The time service does what the variables say; nothing is done where `ntp_enabled` is false.
pub(super) async fn run(host: &Host) -> Result<()> {
    let vars: Vars = host.vars()?;
    if !vars.ntp_timezone.is_empty() {
        host.step("Time zone").ensure(zone(&vars.ntp_timezone)).await?;
    }
    if !vars.ntp_enabled {
        return Ok(());
    }
    let look = || async { Ok::<_, Failure>(Service::of(&host.query(sh0(LOOK)).await?.output)) };
    let mut service = look().await?;
    if service.is_none() && vars.muster_install_packages {
        let install = host.step("Install a time service").limit(Duration::from_secs(600));
        install.ensure(installed(&vars).proxy(proxies::of_packages(host)?)).await?;
        service = look().await?;
    }
    let Some(service) = service else {
        const STEP: &str = "Time service";
        if host.check_mode() {
            host.not_yet(STEP);
            return Ok(());
        }
        return Err(Failure::new(
            format!("{} has no time service, and muster_install_packages is false", host.name()),
            "install chrony on it, or set ntp_enabled: false",
        ));
    };
    if service.refuses {
        // It would be started in each run, and not be at work after any.
        host.warn(format!(
            "{} does not start on this machine, because a condition of its unit is not met (systemctl status {}): the clock is left \
             to whoever keeps it there; ntp_enabled: false says so",
            service.unit, service.unit
        ));
        host.passed("Time service");
        return Ok(());
    }
    let unit = muster_engine::prelude::service(&service.unit);
    let step = host.step("Time service");
    if !vars.ntp_manage_config {
        return step.ensure(unit).await.map(drop);
    }
    let content = service.configuration(host, &vars)?;
    let kept = command(
        format!("{} as it is, for later", service.config),
        sh(
            concat!(include_str!("clock_put_back.sh"), include_str!("clock_keep.sh")),
            [KEPT, &service.config, &service.unit],
        ),
        sh(r#"[ "$(cat "$1/path" 2>/dev/null)" = "$2" ]"#, [KEPT, &service.config]),
    );
    let folder = service.config.rsplit_once('/').map_or("/etc", |(folder, _)| folder);
    step.ensure(kept)
        .ensure(dir(folder))
        .ensure(file(&service.config).content(content.clone()))
        .ensure(unit.started_with(&content))
        .await
        .map(drop)
}

/// The package of a machine that has no time service, by the program in it.
fn installed(vars: &Vars) -> Package {
    let program = if vars.ntp_package == "chrony" { "chronyd" } else { "ntpd" };
    package(program, &vars.ntp_package).lock_timeout(vars.package_lock_timeout)
}

fn zone(name: &str) -> Command {
    command(
        format!("time zone {name}"),
        sh(
            r#"[ -e "/usr/share/zoneinfo/$1" ] || { echo "the machine does not know the time zone $1: install tzdata, or correct ntp_timezone" >&2; exit 1; }
ln -s "/usr/share/zoneinfo/$1" /etc/.localtime.muster
mv -f /etc/.localtime.muster /etc/localtime
[ ! -e /etc/timezone ] || printf '%s\n' "$1" >/etc/timezone"#,
            [name],
        ),
        sh(r#"case $(readlink /etc/localtime) in */zoneinfo/"$1") ;; *) exit 1 ;; esac"#, [name]),
    )
}

/// Packages that this may have brought.
pub(super) fn packages(host: &Host) -> Result<impl Iterator<Item = Package>> {
    let vars: Vars = host.vars()?;
    Ok(["chrony", "ntp", "ntpsec"].into_iter().map(move |name| {
        let program = if name == "chrony" { "chronyd" } else { "ntpd" };
        package(program, name).lock_timeout(vars.package_lock_timeout)
    }))
}

/// The time service has the configuration of before.
pub(super) fn as_before() -> Command {
    command(
        "the time service's configuration of before",
        sh(concat!(include_str!("clock_put_back.sh"), "put_back \"$1\"\n"), [KEPT]),
        sh(r#"[ ! -e "$1" ]"#, [KEPT]),
    )
}

/// Whether somebody configures the time service; else it is to be as before.
pub(super) fn is_configured(host: &Host) -> Result<bool> {
    let vars: Vars = host.vars()?;
    Ok(vars.ntp_enabled && vars.ntp_manage_config)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::preflight::fixture::variables;

    #[test]
    fn the_service_that_is_at_work_counts_and_else_the_first_one() {
        let service = |kind, unit: &str, config: &str| {
            Some(Service { kind, unit: unit.to_owned(), config: config.to_owned(), refuses: false })
        };
        let chrony = "chrony chrony /etc/chrony/chrony.conf inactive\n";
        let timesyncd = "timesyncd systemd-timesyncd /etc/systemd/timesyncd.conf.d/kubernetes.conf active\n";
        let own = "/etc/systemd/timesyncd.conf.d/kubernetes.conf";
        assert_eq!(Service::of(chrony), service(Kind::Chrony, "chrony", "/etc/chrony/chrony.conf"));
        assert_eq!(
            Service::of(&format!("{chrony}{timesyncd}")),
            service(Kind::Timesyncd, "systemd-timesyncd", own)
        );
        assert_eq!(
            Service::of("ntp ntpsec /etc/ntpsec/ntp.conf active"),
            service(Kind::Ntp, "ntpsec", "/etc/ntpsec/ntp.conf")
        );
        assert_eq!(Service::of(""), None);
        // Debian's unit may be known as ntpd as well.
        let openntpd = "openntpd openntpd /etc/openntpd/ntpd.conf active\nntp ntpd /etc/ntp.conf active\n";
        assert_eq!(Service::of(openntpd), service(Kind::OpenNtpd, "openntpd", "/etc/openntpd/ntpd.conf"));
    }

    #[test]
    fn openntpd_is_a_time_service() {
        // Of another one the package of ntp_package would take its place.
        let program = format!(
            "systemctl() {{ case $* in *LoadState*openntpd.service) echo LoadState=loaded ;; is-active*) echo active ;; esac; }}\n{LOOK}"
        );
        let out = Command::new("dash").args(["-euc", &program]).output().unwrap();
        let seen = String::from_utf8(out.stdout).unwrap();
        assert_eq!(Service::of(&seen).map(|service| service.kind), Some(Kind::OpenNtpd), "{seen}");
    }

    #[test]
    fn a_unit_whose_condition_is_not_met_is_not_started_again_and_again() {
        for (active, result, tried, refuses) in [
            ("inactive", "no", "123", true),
            ("inactive", "no", "0", false),
            ("inactive", "yes", "123", false),
            ("active", "yes", "123", false),
        ] {
            let program = format!(
                "set -eu\nsystemctl() {{ case $* in *LoadState*chrony.service) echo LoadState=loaded ;; *LoadState*) echo LoadState=x ;; \
                 is-active*) echo {active} ;; *ConditionResult*) echo ConditionResult={result} ;; \
                 *) echo ConditionTimestampMonotonic={tried} ;; esac; }}\n{LOOK}"
            );
            for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
                let out = Command::new(shell[0]).args(&shell[1..]).args(["-c", &program]).output().unwrap();
                let seen = String::from_utf8(out.stdout).unwrap();
                assert_eq!(
                    Service::of(&seen).unwrap().refuses,
                    refuses,
                    "{shell:?} {active} {result} {tried}: {seen}"
                );
            }
        }
    }

    #[test]
    fn each_service_is_told_of_the_servers() {
        let given = "skydns_server: 10.233.0.3\nntp_servers: [a.example iburst, b.example]\nntp_tinker_panic: true\n\
                     ntp_restrict: [192.0.2.1]\nntp_filter_interface: true\nntp_interfaces: [listen eth0]";
        let told = |template: &str, ntpsec: bool| {
            let extra = json!({ "names": ["a.example", "b.example"], "ntpsec": ntpsec });
            variables(given).render(template, "a template", &extra).unwrap()
        };
        let chrony = told(include_str!("templates/chrony.conf.j2"), false);
        assert!(chrony.contains("server a.example iburst\nserver b.example\n"), "{chrony}");
        assert!(chrony.contains("\nmakestep 1.0 -1\n"), "{chrony}");
        let ntp = told(include_str!("templates/ntp.conf.j2"), false);
        assert!(ntp.contains("pool a.example iburst\npool b.example\n"), "{ntp}");
        for line in [
            "tinker panic 0",
            "restrict 192.0.2.1",
            "interface listen eth0",
            "driftfile /var/lib/ntp/ntp.drift",
        ] {
            assert!(ntp.lines().any(|found| found == line), "{line}: {ntp}");
        }
        let ntpsec = told(include_str!("templates/ntp.conf.j2"), true);
        assert!(ntpsec.contains("driftfile /var/lib/ntpsec/ntp.drift\n"), "{ntpsec}");
        let elsewhere = variables(&format!("{given}\nntp_driftfile: /var/tmp/drift"))
            .render(
                include_str!("templates/ntp.conf.j2"),
                "a template",
                &json!({ "names": [], "ntpsec": true }),
            )
            .unwrap();
        assert!(elsewhere.contains("driftfile /var/tmp/drift\n"), "{elsewhere}");
        let openntpd = told(include_str!("templates/openntpd.conf.j2"), false);
        assert!(openntpd.ends_with("\nservers a.example\nservers b.example\n"), "{openntpd}");
        let timesyncd = told(include_str!("templates/timesyncd.conf.j2"), false);
        assert!(timesyncd.ends_with("[Time]\nNTP=a.example b.example\nFallbackNTP=\n"), "{timesyncd}");
    }

    #[test]
    fn what_was_there_before_is_kept_and_put_back() {
        for shell in [&["dash"][..], &["bash", "--posix"], &["busybox", "sh"]] {
            let root = tempfile::tempdir().unwrap();
            let at = |name: &str| root.path().join(name).display().to_string();
            let run = |program: &str, arguments: &[&str]| {
                let program = format!("set -eu\nsystemctl() {{ :; }}\n{program}");
                let mut command = Command::new(shell[0]);
                command.args(&shell[1..]).args(["-c", &program, "sh"]).args(arguments);
                let out = command.output().unwrap();
                assert!(out.status.success(), "{shell:?}: {}", String::from_utf8_lossy(&out.stderr));
            };
            let keep = concat!(include_str!("clock_put_back.sh"), include_str!("clock_keep.sh"));
            let put_back = concat!(include_str!("clock_put_back.sh"), "put_back \"$1\"\n");
            let (kept, chrony, ntp) = (at("kept"), at("chrony.conf"), at("ntp.conf"));
            fs::write(&chrony, "theirs\n").unwrap();
            run(keep, &[&kept, &chrony, "chrony"]);
            fs::write(&chrony, "ours\n").unwrap();
            // Another service takes its place, which had no file.
            run(keep, &[&kept, &ntp, "ntp"]);
            assert_eq!(fs::read_to_string(&chrony).unwrap(), "theirs\n");
            fs::write(&ntp, "ours\n").unwrap();
            run(put_back, &[&kept]);
            assert!(!fs::exists(&ntp).unwrap() && !fs::exists(&kept).unwrap());
            // The folder may be gone when it is put back.
            let purged = at("chrony/chrony.conf");
            fs::create_dir(at("chrony")).unwrap();
            fs::write(&purged, "theirs\n").unwrap();
            run(keep, &[&kept, &purged, "chrony"]);
            fs::remove_dir_all(at("chrony")).unwrap();
            run(put_back, &[&kept]);
            assert_eq!(fs::read_to_string(&purged).unwrap(), "theirs\n");
            // A note that a power cut has left empty.
            fs::create_dir(&kept).unwrap();
            fs::write(at("kept/path"), "").unwrap();
            run(keep, &[&kept, &purged, "chrony"]);
            assert_eq!(fs::read_to_string(at("kept/file")).unwrap(), "theirs\n");
            fs::write(at("kept/unit"), "").unwrap();
            run(put_back, &[&kept]);
            assert!(!fs::exists(&kept).unwrap());
        }
    }
}
