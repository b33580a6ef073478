//! Text becomes words in the same way on both sides: what is stored, and what is asked for.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Letters of a word that count; the rest of a longer one is ignored.
pub(crate) const WORD_LETTERS: usize = 24;
/// Words of a query that count.
pub(crate) const QUERY_WORDS: usize = 10;
/// Characters of a query that are read at all.
const QUERY_CHARS: usize = 1_000;

/// The words of a text, without case and accents, in order and with repetitions; `most` at most.
pub(crate) fn of(text: &str, most: usize, mut word: impl FnMut(&str)) {
    let mut words = Words { current: String::new(), letters: 0, left: most, emit: &mut word };
    if text.is_ascii() {
        text.chars().for_each(|char| words.ascii(char));
    } else {
        for char in text.nfkd().filter(|char| !is_combining_mark(*char)) {
            match char {
                'ß' | 'ẞ' => words.letters("ss"),
                'æ' | 'Æ' => words.letters("ae"),
                'œ' | 'Œ' => words.letters("oe"),
                'ø' | 'Ø' => words.letters("o"),
                'ł' | 'Ł' => words.letters("l"),
                'đ' | 'Đ' => words.letters("d"),
                'ı' => words.letters("i"),
                _ if char.is_ascii() => words.ascii(char),
                // Written without spaces: each sign is a word.
                _ if is_ideograph(char) => {
                    words.end();
                    words.letter(char);
                    words.end();
                }
                _ if char.is_alphanumeric() => {
                    for lower in char.to_lowercase().filter(|lower| !is_combining_mark(*lower)) {
                        words.letter(lower);
                    }
                }
                '\u{2019}' | '\u{200c}' | '\u{200d}' | '\u{ad}' => {}
                _ => words.end(),
            }
        }
    }
    words.end();
}

/// The distinct words of a query, in order.
pub(crate) fn of_query(text: &str) -> Vec<String> {
    let end = text.char_indices().nth(QUERY_CHARS).map_or(text.len(), |(at, _)| at);
    let mut words: Vec<String> = Vec::new();
    of(text.get(..end).unwrap_or_default(), QUERY_WORDS, |word| {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    });
    words
}

fn is_ideograph(char: char) -> bool {
    matches!(char, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{20000}'..='\u{3ffff}')
}

struct Words<'a> {
    current: String,
    letters: usize,
    left: usize,
    emit: &'a mut dyn FnMut(&str),
}

impl Words<'_> {
    fn ascii(&mut self, char: char) {
        match char {
            _ if char.is_ascii_alphanumeric() => self.letter(char.to_ascii_lowercase()),
            // "women's" is found by "womens".
            '\'' => {}
            _ => self.end(),
        }
    }

    fn letters(&mut self, letters: &str) {
        letters.chars().for_each(|letter| self.letter(letter));
    }

    fn letter(&mut self, letter: char) {
        if self.letters < WORD_LETTERS {
            self.current.push(letter);
            self.letters += 1;
        }
    }

    fn end(&mut self) {
        if self.letters > 0 && self.left > 0 {
            (self.emit)(&self.current);
            self.left -= 1;
        }
        self.current.clear();
        self.letters = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        of(text, usize::MAX, |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn case_accents_and_punctuation_do_not_count() {
        assert_eq!(words("  Crème-Brûlée, for 2! "), ["creme", "brulee", "for", "2"]);
        assert_eq!(words("Women's / women\u{2019}s"), ["womens", "womens"]);
        assert_eq!(
            words("STRASSE Straße SMØRREBRØD Łódź İstanbul"),
            ["strasse", "strasse", "smorrebrod", "lodz", "istanbul"]
        );
        assert_eq!(words("ｆｕｌｌ ﬁne ²"), ["full", "fine", "2"]);
        assert_eq!(words("手机 case"), ["手", "机", "case"]);
        assert_eq!(words("Привет Й"), ["привет", "и"]);
        assert!(words("!?, — …").is_empty());
    }

    #[test]
    fn a_query_is_bounded() {
        assert_eq!(of_query("b a b"), ["b", "a"]);
        let many: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        assert_eq!(of_query(&many.join(" ")).len(), QUERY_WORDS);
        assert_eq!(of_query(&"é".repeat(5_000)), ["e".repeat(WORD_LETTERS)]);
    }

    proptest! {
        #[test]
        fn words_of_words_are_themselves(text in "\\PC{0,60}") {
            for word in words(&text) {
                prop_assert!(word.chars().count() <= WORD_LETTERS);
                prop_assert_eq!(words(&word), vec![word.clone()]);
            }
        }
    }
}
