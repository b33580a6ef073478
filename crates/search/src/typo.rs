//! Words with slips of the finger: a letter too many, one missing, one wrong, two swapped.

/// How many slips are forgiven in a word. None where there is a digit: a model number is meant as it stands.
pub(crate) fn allowed(word: &str) -> usize {
    match word.chars().count() {
        _ if word.contains(|char: char| char.is_numeric()) => 0,
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

/// Compares one word with many others, letter by letter. What two of them begin with in common is compared once.
///
/// The distance is the "optimal string alignment": insertions, deletions, substitutions and swaps of neighbours.
/// The first letter must be right. A beginning of the other word is enough, if it is as long as this one.
#[derive(Debug)]
pub(crate) struct Fuzzy {
    word: Vec<char>,
    edits: usize,
    /// What was pushed.
    letters: Vec<char>,
    /// For each beginning of what was pushed, its distances from all beginnings of the word, one row after the other.
    rows: Vec<usize>,
    /// The least distance in each row.
    least: Vec<usize>,
}

impl Fuzzy {
    pub(crate) fn new(word: &str, edits: usize) -> Self {
        let word: Vec<char> = word.chars().collect();
        let rows = (0..=word.len()).collect();
        Self { word, edits, letters: Vec::new(), rows, least: vec![0] }
    }

    /// The distances of the beginning with so many letters.
    fn row(&self, letters: usize) -> &[usize] {
        let width = self.word.len() + 1;
        self.rows.get(letters * width..(letters + 1) * width).unwrap_or_default()
    }

    pub(crate) fn first(&self) -> Option<char> {
        self.word.first().copied()
    }

    /// Whether another word, pushed so far, is near enough for whatever follows.
    fn begins(&self) -> bool {
        self.letters.len() >= self.word.len() && self.ends()
    }

    /// Whether what was pushed is near enough if nothing follows.
    fn ends(&self) -> bool {
        self.letters.first() == self.word.first()
            && self.rows.last().is_some_and(|distance| *distance <= self.edits)
    }

    /// Whether something that begins like this can still be near enough.
    fn alive(&self) -> bool {
        let mut least = self.least.iter().rev();
        // A swap reaches over one row.
        least.next().is_some_and(|least| *least <= self.edits)
            || least.next().is_some_and(|least| *least < self.edits)
    }

    fn push(&mut self, letter: char) {
        let pushed = self.letters.len();
        let before = self.letters.last().copied();
        let mut left = pushed + 1;
        let mut least = left;
        self.rows.push(left);
        let mut previous: Option<char> = None;
        for nth in 0..self.word.len() {
            let own = self.word.get(nth).copied();
            let of = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let last = self.row(pushed);
            let mut best =
                (left + 1).min(of(last, nth + 1) + 1).min(of(last, nth) + usize::from(own != Some(letter)));
            if previous == Some(letter)
                && before == own
                && let Some((row, at)) = pushed.checked_sub(1).zip(nth.checked_sub(1))
            {
                best = best.min(of(self.row(row), at) + 1);
            }
            self.rows.push(best);
            least = least.min(best);
            left = best;
            previous = own;
        }
        self.least.push(least);
        self.letters.push(letter);
    }

    fn keep(&mut self, letters: usize) {
        self.letters.truncate(letters);
        self.rows.truncate((letters + 1) * (self.word.len() + 1));
        self.least.truncate(letters + 1);
    }

    /// Compares with another word. Where nothing that begins as it does can match, says how many letters that takes.
    pub(crate) fn compare(&mut self, other: &str) -> Verdict {
        let shared = self.letters.iter().zip(other.chars()).take_while(|(a, b)| **a == *b).count();
        self.keep(shared);
        for letter in other.chars().skip(shared) {
            if self.begins() {
                return Verdict::Match;
            }
            if !self.alive() {
                return Verdict::Hopeless(self.letters.len());
            }
            self.push(letter);
        }
        if self.ends() { Verdict::Match } else { Verdict::Different }
    }

    pub(crate) fn matches(&mut self, other: &str) -> bool {
        other.chars().next() == self.first() && matches!(self.compare(other), Verdict::Match)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Match,
    Different,
    /// Nothing with the same so many first letters matches.
    Hopeless(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The distance, as the textbook has it.
    fn distance(a: &[char], b: &[char]) -> usize {
        let mut d = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                d[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let mut best = (d[i - 1][j] + 1).min(d[i][j - 1] + 1);
                    best = best.min(d[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        best = best.min(d[i - 2][j - 2] + 1);
                    }
                    best
                };
            }
        }
        d[a.len()][b.len()]
    }

    pub(crate) fn naive(word: &str, other: &str, edits: usize) -> bool {
        let (word, other): (Vec<char>, Vec<char>) = (word.chars().collect(), other.chars().collect());
        word.first() == other.first()
            && (distance(&word, &other) <= edits
                || (word.len()..=other.len()).any(|len| distance(&word, &other[..len]) <= edits))
    }

    #[test]
    fn usual_slips_are_forgiven() {
        for (word, other) in [
            ("sheos", "shoes"),
            ("keybord", "keyboards"),
            ("samsng", "samsung"),
            ("hedphoens", "headphones"),
            ("shoess", "shoes"),
        ] {
            assert!(Fuzzy::new(word, allowed(word)).matches(other), "{word} {other}");
        }
        for (word, other) in
            [("shoe", "sho"), ("shoe", "phoe"), ("cat", "car"), ("a15x", "a15z"), ("shoe", "shirt")]
        {
            let same = word.len() == other.len() + 1;
            assert_eq!(Fuzzy::new(word, allowed(word)).matches(other), same, "{word} {other}");
        }
    }

    proptest! {
        #[test]
        fn sharing_beginnings_changes_nothing(
            word in "[abc]{1,9}",
            mut others in proptest::collection::vec("[abc]{1,11}", 1..40),
            edits in 0usize..3,
        ) {
            others.sort();
            let mut fuzzy = Fuzzy::new(&word, edits);
            for other in &others {
                let verdict = fuzzy.compare(other);
                let expected = naive(&word, other, edits);
                prop_assert_eq!(verdict == Verdict::Match, expected, "{} {}", word, other);
                prop_assert_eq!(Fuzzy::new(&word, edits).matches(other), expected);
                if let Verdict::Hopeless(letters) = verdict {
                    prop_assert!(letters > 0);
                    let hopeless = others.iter().filter(|more| more.starts_with(&other[..letters]));
                    prop_assert!(hopeless.into_iter().all(|more| !naive(&word, more, edits)));
                }
            }
        }
    }
}
