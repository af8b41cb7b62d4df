//! Words and figures as people read them.

use std::time::Duration;

use console::measure_text_width;
pub(crate) use muster_app::text::{count, harmless, harmless_lines, quoted};
pub(crate) use muster_inventory::{names, some_names};

/// `0.3s`, `41s`, `1m05s`, `1h02m`: as exact as matters.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", time.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// `512 B`, `4.2 MB`: powers of 1000, as package sizes are given.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in units {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Text with blanks after it up to a width in columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(measure_text_width(text))))
}

/// The last lines of a text that has many, without what programs in Go say of their own stack, and kubeadm of what is in order.
pub(crate) fn last_lines(text: &str, most: usize) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_place = |line: &&str| line.starts_with('\t') && line.contains(".go:");
    let is_of_stack = |at: usize| {
        let line = lines[at];
        // Below the name of a function stands where it is.
        is_place(&line)
            || lines.get(at + 1).is_some_and(is_place) && !line.contains(' ')
            || line.starts_with("goroutine ") && line.ends_with("]:")
            || line.starts_with("To see the stack trace of this error")
            // What kubeadm finds in order of the kernel, before it says what is wrong.
            || ["CGROUPS_", "CONFIG_"].iter().any(|word| line.starts_with(word)) && line.contains(": enabled")
    };
    let told: Vec<&str> = (0..lines.len()).filter(|at| !is_of_stack(*at)).map(|at| lines[at]).collect();
    told[told.len().saturating_sub(most)..].to_vec()
}

/// Breaks a text at blanks into lines of at most a width in columns. A word that is longer is broken where it must be.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word = word;
            let gap = usize::from(!line.is_empty());
            if measure_text_width(&line) + gap + measure_text_width(word) > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            while measure_text_width(word) > width {
                let end = word.char_indices().map(|(at, _)| at).take(width + 1).last().unwrap_or(word.len());
                lines.push(word[..end].to_owned());
                word = &word[end..];
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_as_exact_as_matters() {
        let times = [0.04, 4.13, 41.7, 65.0, 3725.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(times, ["0.0s", "4.1s", "41s", "1m05s", "1h02m"]);
        let sizes = [0, 999, 1000, 4_200_000, 123_456_789, 999_999_999_999].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "4.2 MB", "123 MB", "1.0 TB"]);
    }

    #[test]
    fn text_is_wrapped_at_blanks_and_long_words_where_they_must() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrap("a\nb", 10), ["a", "b"]);
        assert_eq!(wrap("", 10), Vec::<String>::new());
        assert_eq!(last_lines("a\n\nb\nc\n", 2), ["b", "c"]);
    }

    #[test]
    fn of_a_stack_of_go_nothing_is_quoted() {
        let said = "error execution phase preflight: couldn't validate the identity of the API Server\n\
                    k8s.io/kubernetes/cmd/kubeadm/app/cmd/phases/workflow.(*Runner).Run.func1\n\
                    \tcmd/kubeadm/app/cmd/phases/workflow/runner.go:262\n\
                    main.main\n\tk8s.io/kubernetes/cmd/kubeadm/kubeadm.go:25\n\
                    CGROUPS_CPU: enabled\n\
                    To see the stack trace of this error execute with --v=5 or higher\n\
                    panic: no such thing\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/src/main.go:7 +0x1d\n\
                    \tan indented line\n";
        assert_eq!(
            last_lines(said, 12),
            [
                "error execution phase preflight: couldn't validate the identity of the API Server",
                "panic: no such thing",
                "\tan indented line"
            ]
        );
    }
}
