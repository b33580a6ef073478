//! Which ways of compressing a client can read, and which version of an answer it has already. Pure.

use actix_web::http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_NONE_MATCH};

/// What a client can read besides plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::catalogue) struct Accepted {
    pub(in crate::catalogue) gzip: bool,
    pub(in crate::catalogue) brotli: bool,
}

impl Accepted {
    /// As a request says.
    pub(in crate::catalogue) fn by(headers: &HeaderMap) -> Self {
        let (mut gzip, mut brotli, mut any) = (None, None, false);
        let values = headers.get_all(ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
        for part in values.flat_map(|value| value.split(',')) {
            let mut parameters = part.split(';').map(str::trim);
            let name = parameters.next().unwrap_or_default();
            // `q=0` and `q=0.000` refuse.
            let is_refused = parameters
                .filter_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
                .any(|quality| quality.bytes().all(|byte| matches!(byte, b'0' | b'.')));
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                gzip = Some(!is_refused);
            } else if name.eq_ignore_ascii_case("br") {
                brotli = Some(!is_refused);
            } else if name == "*" {
                any = !is_refused;
            }
        }
        Self { gzip: gzip.unwrap_or(any), brotli: brotli.unwrap_or(any) }
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::catalogue) enum Encoding {
    Plain,
    Gzip,
    Brotli,
}

impl Encoding {
    /// As `Content-Encoding` has it.
    pub(in crate::catalogue) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "-gzip",
            Self::Brotli => "-br",
        }
    }
}

/// The name of a content, from which each way of writing it has its `ETag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::catalogue) struct Tag([u8; 32]);

impl Tag {
    /// Of a content that is known by a number.
    pub(in crate::catalogue) fn from_print(print: u128) -> Self {
        let mut digits = [0; 32];
        let mut rest = print;
        for digit in digits.iter_mut().rev() {
            let low = u8::try_from(rest % 16).unwrap_or(0);
            *digit = if low < 10 { b'0' + low } else { b'a' + low - 10 };
            rest /= 16;
        }
        Self(digits)
    }

    /// `"<digits>"`, `"<digits>-gzip"`, `"<digits>-br"`.
    pub(in crate::catalogue) fn of(self, encoding: Encoding) -> HeaderValue {
        let tag = [b"\"", self.0.as_slice(), encoding.suffix().as_bytes(), b"\""].concat();
        // Hexadecimal digits in quotes can always be sent.
        HeaderValue::from_maybe_shared(tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    /// The way of writing in which the client has this content already.
    pub(in crate::catalogue) fn known_to(self, headers: &HeaderMap) -> Option<Encoding> {
        let mut known = headers.get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        known.find_map(|value| value.split(',').find_map(|tag| self.is_named(tag.trim())))
    }

    fn is_named(self, tag: &str) -> Option<Encoding> {
        if tag == "*" {
            return Some(Encoding::Plain);
        }
        let tag = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?;
        let suffix = tag.as_bytes().strip_prefix(self.0.as_slice())?;
        [Encoding::Plain, Encoding::Gzip, Encoding::Brotli]
            .into_iter()
            .find(|encoding| encoding.suffix().as_bytes() == suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: actix_web::http::header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_client_reads_what_it_names_and_does_not_refuse() {
        for (values, gzip, brotli) in [
            (&[][..], false, false),
            (&["gzip, deflate, br, zstd"], true, true),
            (&["GZIP;q=0.5"], true, false),
            (&["gzip;q=0, br;q=1.0"], false, true),
            (&["br; q=0.000", "x-gzip"], true, false),
            (&["*"], true, true),
            (&["*;q=0.1, gzip;q=0"], false, true),
            (&["*;q=0"], false, false),
            (&["identity"], false, false),
            (&[";;,,gzip;;"], true, false),
        ] {
            assert_eq!(
                Accepted::by(&headers(ACCEPT_ENCODING, values)),
                Accepted { gzip, brotli },
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_content_is_known_by_any_of_its_names() {
        let tag = Tag::from_print(0xabc);
        let print = format!("{:032x}", 0xabc);
        assert_eq!(tag.of(Encoding::Gzip), format!("\"{print}-gzip\""));
        for (known, encoding) in [
            (format!("\"{print}\""), Some(Encoding::Plain)),
            (format!("\"x\", W/\"{print}-gzip\""), Some(Encoding::Gzip)),
            (format!("\"{print}-br\""), Some(Encoding::Brotli)),
            ("*".to_owned(), Some(Encoding::Plain)),
            (format!("\"{print}-zstd\""), None),
            (print.clone(), None),
            ("\"other\"".to_owned(), None),
        ] {
            assert_eq!(tag.known_to(&headers(IF_NONE_MATCH, &[&known])), encoding, "{known}");
        }
    }
}
