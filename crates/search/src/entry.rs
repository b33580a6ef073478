use crate::dictionary::Word;
use crate::words;

/// The twelve bytes of an ObjectId.
pub type Id = [u8; 12];

/// Words that are indexed of a name.
const NAME_WORDS: usize = 32;
/// Words that are indexed of tags, category and shop name, each.
const OTHER_WORDS: usize = 32;
/// Words that are indexed of a description. Further ones cost memory and find what nobody looked for.
const DESCRIPTION_WORDS: usize = 48;

/// What the index knows of a product or an event.
///
/// Text is read once and not kept, except the names of categories and shops.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub id: Id,
    /// Its first 32 words are searched, and rank before all others.
    pub name: &'a str,
    /// Searched (32 words).
    pub tags: &'a str,
    /// Searched (48 words). May be left empty to save memory: a word costs about 8 bytes an entry.
    pub description: &'a str,
    /// Searched, filtered (by exactly this text), counted.
    pub category: &'a str,
    /// Filtered, counted.
    pub shop: Id,
    /// Searched; the newest one given is what counts of this shop are labelled with.
    pub shop_name: &'a str,
    /// In minor units.
    pub price: i64,
    /// In hundredths: 450 is four stars and a half. `None` and 0 are the same: nobody has rated it.
    pub rating: Option<u16>,
    /// Units to be had; in stock if more than none.
    pub available: i64,
    /// Units sold so far, for [`Sort::BestSelling`](crate::Sort::BestSelling).
    pub sold: i64,
    /// When it was put up, in milliseconds. Two of the same time are ordered by id.
    pub newest: i64,
}

impl Entry<'_> {
    /// Its distinct words, in alphabetical order.
    pub(crate) fn words(&self) -> Vec<Word> {
        let mut found: Vec<Word> = Vec::new();
        words::of(self.name, NAME_WORDS, |word| found.push((Box::from(word), true)));
        let others = [self.tags, self.category, self.shop_name].map(|text| (text, OTHER_WORDS));
        for (text, most) in others.into_iter().chain([(self.description, DESCRIPTION_WORDS)]) {
            words::of(text, most, |word| found.push((Box::from(word), false)));
        }
        // What the name has comes before what it does not have.
        found.sort_unstable_by(|(a, a_in_name), (b, b_in_name)| a.cmp(b).then(b_in_name.cmp(a_in_name)));
        found.dedup_by(|(later, _), (earlier, _)| later == earlier);
        found
    }
}
