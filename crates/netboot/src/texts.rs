//! What single texts of a configuration may be. Rules and limits are those by which Ignition validates its configurations
//! (specifications 3.0 to 3.6 and 2.3).

use russh::keys::PublicKey;

/// A rule's answer.
type Judged = Result<(), String>;

/// Whatever it says.
pub(crate) fn any(_: &str) -> Judged {
    Ok(())
}

/// A path from the root, without detours.
pub(crate) fn path(text: &str) -> Judged {
    if !text.starts_with('/') {
        return Err(format!("\"{text}\" is a relative path, and one that begins with / was meant"));
    }
    let parts: Vec<&str> = text.split('/').skip(1).collect();
    if text != "/" && parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        let mut plain: Vec<&str> = Vec::new();
        for part in parts {
            match part {
                "" | "." => {}
                ".." => drop(plain.pop()),
                part => plain.push(part),
            }
        }
        return Err(format!("\"{text}\" is a path with detours; write it as /{}", plain.join("/")));
    }
    Ok(())
}

/// Something that Ignition can fetch.
pub(crate) fn url(text: &str) -> Judged {
    const SCHEMES: [&str; 7] = ["http", "https", "tftp", "s3", "arn", "gs", "data"];
    match text.split_once(':') {
        Some((scheme, rest)) if SCHEMES.contains(&scheme) => {
            let complete = match scheme {
                "data" => rest.contains(','),
                "arn" => rest.matches(':').count() >= 4,
                _ => rest.strip_prefix("//").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
            };
            if complete && !text.contains(char::is_whitespace) {
                Ok(())
            } else {
                Err(format!("\"{text}\" is no complete URL, such as http://192.0.2.1/file"))
            }
        }
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Err(format!("Ignition fetches nothing by {scheme}:, only by {}", SCHEMES.join(", ")))
        }
        _ => Err(format!("\"{text}\" is no URL, such as http://192.0.2.1/file")),
    }
}

/// A proxy, or another server that speaks HTTP.
pub(crate) fn http_url(text: &str) -> Judged {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest) if !rest.is_empty() && !text.contains(char::is_whitespace) => Ok(()),
        _ => Err(format!("\"{text}\" is no URL of HTTP, such as http://192.0.2.1:3128")),
    }
}

/// A hash with its kind in front.
pub(crate) fn hash(text: &str) -> Judged {
    let (kind, sum) = text.split_once('-').unwrap_or(("", text));
    let length = match kind {
        "sha256" => 64,
        "sha512" => 128,
        _ => return Err(format!("\"{text}\" is no hash with its kind: sha256-HEX or sha512-HEX")),
    };
    if sum.len() != length || !sum.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!(
            "a {kind} has {length} hexadecimal digits, and here are {} characters",
            sum.chars().count()
        ));
    }
    Ok(())
}

/// The kind of a hash, in the old form with the sum beside it.
pub(crate) fn hash_kind(text: &str) -> Judged {
    if text == "sha512" {
        Ok(())
    } else {
        Err(format!("\"{text}\" is no hash that is known here; sha512 is"))
    }
}

/// How something is compressed.
pub(crate) fn compression(text: &str) -> Judged {
    if text == "gzip" {
        Ok(())
    } else {
        Err(format!("\"{text}\" is no compression that is known here; gzip is"))
    }
}

/// The name of a systemd unit.
pub(crate) fn unit(text: &str) -> Judged {
    const ENDINGS: [&str; 12] = [
        "service",
        "socket",
        "device",
        "mount",
        "automount",
        "swap",
        "target",
        "path",
        "timer",
        "snapshot",
        "slice",
        "scope",
    ];
    file_name(text)?;
    match text.rsplit_once('.') {
        Some((_, ending)) if ENDINGS.contains(&ending) => Ok(()),
        _ => Err(format!("\"{text}\" does not end as units of systemd do, such as {text}.service")),
    }
}

/// The name of a file of systemd-networkd.
pub(crate) fn network_unit(text: &str) -> Judged {
    file_name(text)?;
    match text.rsplit_once('.') {
        Some((_, "network" | "netdev" | "link")) => Ok(()),
        _ => Err(format!("\"{text}\" does not end in .network, .netdev or .link")),
    }
}

/// The name of a drop-in.
pub(crate) fn dropin(text: &str) -> Judged {
    file_name(text)?;
    if text.ends_with(".conf") {
        Ok(())
    } else {
        Err(format!("\"{text}\" does not end in .conf, as drop-ins do"))
    }
}

fn file_name(text: &str) -> Judged {
    if text.contains('/') { Err(format!("\"{text}\" is a path, and a name was meant")) } else { Ok(()) }
}

/// The name of a user or a group, as useradd(8) takes it.
pub(crate) fn account(text: &str) -> Judged {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = text.strip_suffix('$').unwrap_or(text);
    let rest =
        rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.'));
    if first && rest && text.len() <= 32 {
        return Ok(());
    }
    Err(format!(
        "useradd takes no \"{text}\": names have lower-case letters, digits, - and _, begin with a letter, and are at most 32 \
         characters long"
    ))
}

/// A public key of SSH, as authorized_keys has it: with options in front, and a comment behind. Ignition does not look at it, and
/// nobody can log in with one that was cut off.
pub(crate) fn ssh_key(text: &str) -> Judged {
    if text.contains("PRIVATE KEY") {
        return Err(
            "this is a private key; the public one was meant, of the file that ends in .pub".to_owned()
        );
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let is_kind = |word: &&str| {
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|begin| word.starts_with(begin))
    };
    // Options may hold blanks in quotation marks, so the key is looked for by its kind.
    let Some(at) = words.iter().position(is_kind) else {
        return Err("this is no public key of SSH: it has no kind, such as ssh-ed25519".to_owned());
    };
    let key = words[at..].iter().take(2).copied().collect::<Vec<_>>().join(" ");
    match PublicKey::from_openssh(&key) {
        Ok(_) => Ok(()),
        // A kind that this library does not know may still be known to sshd.
        Err(_) if known_kind(words[at]) => Err(format!(
            "this is no whole {} key: it was cut off, or was changed while it was copied",
            words[at]
        )),
        Err(_) => Ok(()),
    }
}

fn known_kind(word: &str) -> bool {
    matches!(
        word,
        "ssh-rsa" | "ssh-ed25519" | "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521"
    )
}

/// A GUID of a partition.
pub(crate) fn guid(text: &str) -> Judged {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    if lengths == [8, 4, 4, 4, 12] && parts.concat().chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(format!("\"{text}\" is no GUID, such as 01234567-89AB-CDEF-EDCB-A98765432101"))
}

/// The types of partitions that Container Linux Configs call by words, and their GUIDs.
pub(crate) const TYPE_WORDS: [(&str, &str); 4] = [
    ("linux_filesystem_data", "0fc63daf-8483-4772-8e79-3d69d8477de4"),
    ("raid_containing_root", "be9067b9-ea49-4f15-b4f6-f36f8c9e1818"),
    ("raid_partition", "a19d880f-05fc-4d3b-a006-743f0f84911e"),
    ("swap_partition", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"),
];

/// One of these types, or a GUID.
pub(crate) fn type_guid(text: &str) -> Judged {
    if TYPE_WORDS.iter().any(|(word, _)| *word == text) { Ok(()) } else { guid(text) }
}

/// The label of a partition.
pub(crate) fn partition_label(text: &str) -> Judged {
    match text {
        _ if text.len() > 36 => {
            Err(format!("\"{text}\" is longer than 36 characters, and a partition's label is not"))
        }
        _ if text.contains(':') => Err(format!("\"{text}\" has a colon, at which sgdisk would cut it off")),
        _ => Ok(()),
    }
}

/// A size in whole mebibytes, with its unit.
pub(crate) fn size(text: &str) -> Judged {
    mebibytes(text).map(drop)
}

/// The same as a number.
pub(crate) fn mebibytes(text: &str) -> Result<i64, String> {
    let wrong = || format!("\"{text}\" is no size in whole MiB, such as 512MiB or 2GiB");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..end].parse().map_err(|_| wrong())?;
    let bytes = match text[end..].trim() {
        "" | "B" if number == 0 => Some(0),
        "KiB" => number.checked_mul(1 << 10),
        "MiB" => number.checked_mul(1 << 20),
        "GiB" => number.checked_mul(1 << 30),
        "TiB" => number.checked_mul(1 << 40),
        _ => None,
    };
    bytes.filter(|bytes| bytes % (1 << 20) == 0).map(|bytes| bytes >> 20).ok_or_else(wrong)
}

/// The level of a RAID.
pub(crate) fn raid_level(text: &str) -> Judged {
    const LEVELS: [&str; 15] = [
        "linear", "raid0", "0", "stripe", "raid1", "1", "mirror", "raid4", "4", "raid5", "5", "raid6", "6",
        "raid10", "10",
    ];
    if LEVELS.contains(&text) {
        Ok(())
    } else {
        Err(format!("\"{text}\" is no level of a RAID, such as raid1"))
    }
}

/// The format of a file system.
pub(crate) fn format(text: &str) -> Judged {
    const FORMATS: [&str; 6] = ["ext4", "btrfs", "xfs", "vfat", "swap", "none"];
    if FORMATS.contains(&text) {
        Ok(())
    } else {
        Err(format!("\"{text}\" is no format of {}", FORMATS.join(", ")))
    }
}

/// The name of a LUKS volume.
pub(crate) fn volume(text: &str) -> Judged {
    file_name(text)
}

/// A path below the folder of local files.
pub(crate) fn local(text: &str) -> Judged {
    let mut depth = 0;
    for part in text.split('/') {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 {
            return Err(format!("\"{text}\" leads out of the folder of local files (--files-dir)"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn good(rule: fn(&str) -> Judged, texts: &[&str]) {
        for text in texts {
            assert_eq!(rule(text), Ok(()), "{text}");
        }
    }

    #[track_caller]
    fn bad(rule: fn(&str) -> Judged, text: &str, told: &str) {
        let why = rule(text).unwrap_err();
        assert!(why.contains(told), "{text}: {why}");
    }

    #[test]
    fn paths() {
        good(path, &["/", "/etc/motd", "/a b/.hidden/..c"]);
        bad(path, "motd", "begins with /");
        bad(path, "/etc//x/../motd/", "write it as /etc/motd");
    }

    #[test]
    fn urls() {
        good(
            url,
            &[
                "http://h/x",
                "https://h",
                "data:,a",
                "data:;base64,QQ==",
                "tftp://h/f",
                "gs://b/o",
                "s3://b/o",
            ],
        );
        good(url, &["arn:aws:s3:::bucket/key"]);
        bad(url, "ftp://ftp/pub", "fetches nothing by ftp:");
        bad(url, "http:/h", "no complete URL");
        bad(url, "http:///f", "no complete URL");
        bad(url, "h/x", "no URL");
        bad(url, "http://h/a b", "no complete URL");
        good(http_url, &["http://p:3128"]);
        bad(http_url, "socks://p", "no URL of HTTP");
    }

    #[test]
    fn hashes() {
        good(hash, &[&format!("sha256-{}", "a".repeat(64)), &format!("sha512-{}", "0".repeat(128))]);
        bad(hash, "md5-abc", "no hash with its kind");
        bad(hash, &"a".repeat(64), "no hash with its kind");
        bad(hash, "sha256-abc", "64 hexadecimal digits, and here are 3");
    }

    #[test]
    fn names() {
        good(unit, &["a.service", "getty@tty1.service", "var-lib.mount"]);
        bad(unit, "docker", "such as docker.service");
        bad(unit, "a/b.service", "is a path");
        good(dropin, &["10-x.conf"]);
        bad(dropin, "10-x", ".conf");
        good(network_unit, &["00-eth.network"]);
        bad(network_unit, "00-eth.conf", ".network");
        good(account, &["core", "admin", "_x", "a-1", "machine$"]);
        for wrong in ["Admin", "1a", "a b", &"a".repeat(33)] {
            bad(account, wrong, "useradd");
        }
    }

    #[test]
    fn public_keys() {
        const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDTVUBXJWyglDyfxdSX8Fz+C1LdPp8NTz9eleiUP9hp6";
        good(
            ssh_key,
            &[
                KEY,
                &format!("{KEY} a@b"),
                &format!("command=\"echo a b\",no-pty {KEY}"),
                "ssh-xmss@openssh.com AAAA",
            ],
        );
        bad(ssh_key, "ssh-rsa AAAAB3N...dAYs7Y6L8= ato", "cut off");
        bad(ssh_key, &KEY[..50], "cut off");
        bad(ssh_key, "AAAAC3Nza", "has no kind");
        bad(ssh_key, "-----BEGIN OPENSSH PRIVATE KEY-----", "the public one was meant");
    }

    #[test]
    fn disks() {
        good(guid, &["01234567-89AB-CDEF-EDCB-A98765432101"]);
        bad(guid, "0123", "no GUID");
        good(type_guid, &["swap_partition"]);
        assert_eq!(mebibytes("2GiB"), Ok(2048));
        assert_eq!(mebibytes("2048KiB"), Ok(2));
        assert_eq!(mebibytes("0"), Ok(0));
        for wrong in ["1KiB", "2GB", "GiB", "-1MiB"] {
            bad(size, wrong, "whole MiB");
        }
        bad(raid_level, "raid7", "no level");
        bad(format, "ext3", "no format of ext4");
        bad(partition_label, &"a".repeat(37), "36");
        bad(partition_label, "a:b", "colon");
        good(local, &["a/b", "a/../b", "./x"]);
        bad(local, "../x", "leads out");
        bad(local, "a/../../x", "leads out");
        bad(volume, "a/b", "a path");
    }
}
