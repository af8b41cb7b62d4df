//! Addresses of network cards.

use std::fmt;
use std::str::FromStr;

/// An address of a network card (IEEE 802, EUI-48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// As iPXE writes `${mac:hexhyp}`: `52-54-00-12-34-56`.
    pub fn hyphened(self) -> String {
        self.joined("-")
    }

    /// Its six bytes, in the order in which they are written.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }

    fn joined(self, between: &str) -> String {
        self.0.map(|byte| format!("{byte:02x}")).join(between)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(":"))
    }
}

impl FromStr for Mac {
    type Err = String;

    /// Reads one with colons, hyphens, dots (`5254.0012.3456`) or nothing between.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("\"{text}\" is no address of a network card, such as 52:54:00:12:34:56{why}");
        let digits: String = text.trim().chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
        if digits.len() != 12 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(wrong(""));
        }
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap_or_default();
        let bytes = std::array::from_fn(byte);
        match bytes {
            [0, 0, 0, 0, 0, 0] => Err(wrong(": no card has only zeros")),
            [first, ..] if first & 1 == 1 => Err(wrong(": this one is an address of a group of machines")),
            _ => Ok(Self(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_each_of_its_spellings() {
        for text in ["52:54:00:AB:34:56", "52-54-00-ab-34-56", "5254.00ab.3456", " 525400ab3456 "] {
            let mac: Mac = text.parse().unwrap();
            assert_eq!(
                (mac.to_string().as_str(), mac.hyphened().as_str()),
                ("52:54:00:ab:34:56", "52-54-00-ab-34-56")
            );
        }
        for (text, told) in [
            ("52:54:00:12:34", "no address"),
            ("52:54:00:12:34:5g", "no address"),
            ("00:00:00:00:00:00", "only zeros"),
            ("ff:ff:ff:ff:ff:ff", "a group"),
            ("10.0.0.1", "no address"),
        ] {
            assert!(text.parse::<Mac>().unwrap_err().contains(told), "{text}");
        }
    }
}
