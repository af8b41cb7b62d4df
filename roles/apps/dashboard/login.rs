//! How one logs in to the dashboard: where it is, and a token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_artifacts::Sha256;
use muster_engine::script::quote;
use serde_json::Value;

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// May see everything in the cluster but Secrets.
    Viewer,
    /// May do everything.
    Admin,
}

/// How the dashboard is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// At this port of each node.
    NodePort(u16),
    /// At this address; `None` where a load balancer has still to give it one.
    Address(Option<String>),
    /// From within the cluster only.
    Inside,
}

/// What one needs to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Where the dashboard is.
    pub reached: Reached,
    /// The sha256 of its certificate, as browsers show it; empty where there is none yet.
    pub fingerprint: String,
    /// The token.
    pub token: String,
}

/// A program for a control plane that prints what [`Login::of`] reads. The token is good for so many seconds, at least 600.
pub fn look(namespace: &str, account: Account, seconds: u64) -> String {
    let account = if account == Account::Admin { "admin" } else { "viewer" };
    let arguments = [namespace, account, &seconds.to_string()].map(quote).join(" ");
    let text = concat!(
        include_str!("../../own_api_server.sh"),
        include_str!("../../kubectl.sh"),
        include_str!("log_in.sh")
    );
    format!("set -- {arguments}\n{text}")
}

impl Login {
    /// What the program has printed; `None` where that is something else.
    pub fn of(printed: &str) -> Option<Self> {
        let mut parts = printed.splitn(3, '\n');
        let mut words = parts.next()?.split(' ');
        let reached = match (words.next()?, words.next(), words.next()) {
            ("NodePort", Some(port), _) => Reached::NodePort(port.parse().ok()?),
            ("LoadBalancer", _, address) => {
                Reached::Address(address.filter(|address| !address.is_empty()).map(str::to_owned))
            }
            _ => Reached::Inside,
        };
        let pem = STANDARD.decode(parts.next()?.trim()).ok()?;
        let pem = x509_parser::pem::parse_x509_pem(&pem).ok();
        let digest =
            pem.map(|(_, pem)| Sha256::of(&pem.contents).to_string().to_uppercase()).unwrap_or_default();
        let pairs: Vec<&str> = (0..digest.len()).step_by(2).map(|at| &digest[at..at + 2]).collect();
        // Warnings may stand behind the answer.
        let answer = serde_json::Deserializer::from_str(parts.next()?).into_iter::<Value>().next()?.ok()?;
        let token = answer["status"]["token"].as_str()?.to_owned();
        Some(Self { reached, fingerprint: pairs.join(":"), token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_needs_to_log_in_is_read() {
        let printed =
            |first: &str| format!("{first}\n\n{{\"status\": {{\"token\": \"a.b.c\"}}}}\nWarning: x\n");
        let reached = |first: &str| Login::of(&printed(first)).map(|login| login.reached);
        assert_eq!(reached("NodePort 31447 "), Some(Reached::NodePort(31447)));
        assert_eq!(reached("LoadBalancer 31447 192.0.2.9"), Some(Reached::Address(Some("192.0.2.9".into()))));
        assert_eq!(reached("LoadBalancer 31447 "), Some(Reached::Address(None)));
        assert_eq!(reached("ClusterIP  "), Some(Reached::Inside));
        let login = Login::of(&printed("ClusterIP  ")).unwrap();
        assert_eq!((login.token.as_str(), login.fingerprint.as_str()), ("a.b.c", ""));
        assert!(Login::of("").is_none() && Login::of("NodePort 1 \n\n{}").is_none());
    }

    #[test]
    fn the_program_asks_for_the_account() {
        let program = look("dash board", Account::Admin, 3600);
        assert!(program.starts_with("set -- 'dash board' "), "{program}");
        assert!(program.lines().next().unwrap().contains("admin"), "{program}");
        assert!(look("d", Account::Viewer, 600).lines().next().unwrap().contains("viewer"));
    }
}
