use std::collections::HashMap;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::time::Duration;

use crate::cursor::Cursor;
use crate::entry::{Entry, Id};
use crate::filter::Filter;
use crate::page::{Start, take};
use crate::query::{Error, MAX_LIMIT, Page, Query, Sort};
use crate::table::{Change, Table, TableBuilder};
use crate::typo::allowed;
use crate::view::View;
use crate::words;

/// Selections that are remembered, at most: every write is compared with each.
const VIEWS: usize = 512;
/// How often a writer looks for a gap between readers before it asks them to wait, and how long it pauses in between.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_micros(50);
/// Memory that remembered selections may take, unless told otherwise.
const VIEW_BYTES: usize = 64 << 20;

/// Entries that can be searched, shared by any number of readers and writers.
///
/// A reader sees the entries as they were at one moment, with the writes that were finished before it began.
#[derive(Debug)]
pub struct Index {
    table: RwLock<Table>,
    views: Mutex<Views>,
}

/// How large an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    pub entries: usize,
    /// Different words.
    pub words: usize,
    /// Selections that are remembered because somebody asked for them.
    pub views: usize,
    /// Memory for them, about.
    pub view_bytes: usize,
    /// Memory for the entries, about; what the allocator adds is not in it.
    pub bytes: usize,
}

#[derive(Debug)]
struct Views {
    known: HashMap<Filter, Remembered>,
    clock: u64,
    bytes: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Remembered {
    view: Arc<View>,
    bytes: usize,
    used: u64,
}

impl Views {
    fn get(&mut self, filter: &Filter) -> Option<Arc<View>> {
        self.clock += 1;
        let remembered = self.known.get_mut(filter)?;
        remembered.used = self.clock;
        Some(Arc::clone(&remembered.view))
    }

    fn add(&mut self, view: &Arc<View>) {
        let bytes = view.bytes();
        self.clock += 1;
        let remembered = Remembered { view: Arc::clone(view), bytes, used: self.clock };
        if let Some(before) = self.known.insert(view.filter.clone(), remembered) {
            self.bytes -= before.bytes;
        }
        self.bytes += bytes;
        if self.bytes <= self.most_bytes && self.known.len() <= VIEWS {
            return;
        }
        // Room for some more, so that not everyone who comes next has to make some.
        let mut by_age: Vec<(u64, usize)> = self.known.values().map(|view| (view.used, view.bytes)).collect();
        by_age.sort_unstable();
        let (mut bytes, mut count, mut oldest) = (self.bytes, self.known.len(), 0);
        // Never the newest: it is about to be used.
        by_age.pop();
        for (used, freed) in by_age {
            if bytes <= self.most_bytes / 8 * 7 && count <= VIEWS / 8 * 7 {
                break;
            }
            (bytes, count, oldest) = (bytes - freed, count - 1, used);
        }
        self.known.retain(|_, view| view.used > oldest);
        self.bytes = bytes;
    }

    fn apply(&mut self, change: &Change) {
        if change.is_invisible() {
            return;
        }
        let mut freed = 0;
        self.known.retain(|_, remembered| match Arc::get_mut(&mut remembered.view) {
            Some(view) => {
                view.apply(change);
                true
            }
            // Readers hold a view only while they hold the table, so nobody does now.
            None => {
                freed += remembered.bytes;
                false
            }
        });
        self.bytes -= freed;
    }

    fn clear(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }
}

/// Gathers the first entries of an index: much faster than adding them one by one, and nobody waits for it.
#[derive(Debug, Default)]
pub struct Builder(TableBuilder);

impl Builder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Of entries with the same id, the last one counts.
    pub fn add(&mut self, entry: &Entry<'_>) {
        self.0.add(entry);
    }

    /// How many were added.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorting takes half a second of a million entries.
    pub fn build(self) -> Index {
        Index::of(self.0.finish())
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::of(TableBuilder::empty())
    }
}

impl Index {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(table: Table) -> Self {
        let views = Views { known: HashMap::new(), clock: 0, bytes: 0, most_bytes: VIEW_BYTES };
        Self { table: RwLock::new(table), views: Mutex::new(views) }
    }

    /// Limits the memory for remembered selections, 64 MiB by default. With 0, every query is looked up anew.
    #[must_use]
    pub fn with_view_bytes(self, bytes: usize) -> Self {
        self.views().most_bytes = bytes;
        self
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// While a writer waits in line, nobody else gets in, also before it is given a processor. So it does not stand in
    /// line at first: readers then wait no longer than the write takes.
    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        for _ in 0..TRIES {
            match self.table.try_write() {
                Ok(table) => return table,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn views(&self) -> MutexGuard<'_, Views> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces everything at once by what was gathered. Writes from the meantime have to be repeated.
    ///
    /// Sorting takes half a second of a million entries, in which nobody waits but the caller.
    pub fn load(&self, builder: Builder) {
        let mut new = builder.0.finish();
        let mut table = self.write();
        self.views().clear();
        std::mem::swap(&mut *table, &mut new);
        drop(table);
        // Readers need not wait until the old one is taken apart.
        drop(new);
    }

    /// Adds an entry, or puts it in the place of that with the same id. The next search sees it.
    ///
    /// Blocks for as long as readers take who are there already, like `remove`.
    pub fn insert(&self, entry: &Entry<'_>) {
        let words = entry.words();
        let mut table = self.write();
        let change = table.put(entry, words);
        self.views().apply(&change);
    }

    /// Whether there was one with this id.
    pub fn remove(&self, id: &Id) -> bool {
        let mut table = self.write();
        let Some(change) = table.remove(id) else { return false };
        self.views().apply(&change);
        true
    }

    pub fn len(&self) -> usize {
        self.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds up the sizes of all parts: milliseconds for a large index, in which writers wait.
    pub fn stats(&self) -> Stats {
        let table = self.read();
        let (entries, words, bytes) = (table.len(), table.dictionary.len(), table.bytes());
        let views = self.views();
        Stats { entries, words, bytes, views: views.known.len(), view_bytes: views.bytes }
    }

    /// A page of what a query asks for.
    ///
    /// # Errors
    ///
    /// If the limit is out of range, or the cursor is not one that this query gave (except for its limit).
    pub fn search(&self, query: &Query) -> Result<Page, Error> {
        if !(1..=MAX_LIMIT).contains(&query.limit) {
            return Err(Error::Limit);
        }
        let words = words::of_query(&query.q);
        let sort = match query.sort {
            Some(Sort::Relevance) | None if words.is_empty() => Sort::Newest,
            None => Sort::Relevance,
            Some(sort) => sort,
        };
        let cursor = match &query.cursor {
            Some(text) => Some(Cursor::read(text, query, &words, sort).ok_or(Error::Cursor)?),
            None => None,
        };
        let table = self.read();
        let fuzzy = match cursor {
            Some(cursor) => cursor.fuzzy,
            None => self.forgive(&table, &words),
        };
        let filter = resolve(&table, query, words, fuzzy);
        let view = self.view(&table, &filter);

        let start = Start {
            after: cursor.map(|cursor| (cursor.key, cursor.id)),
            range: filter.price.filter(|_| matches!(sort, Sort::PriceAscending | Sort::PriceDescending)),
        };
        // One more, to see whether there is a page after this one.
        let wanted = query.limit + 1;
        let mut slots = Vec::with_capacity(wanted);
        let mut ends = Vec::new();
        if sort == Sort::Relevance {
            let first = cursor.map_or(0, |cursor| usize::from(cursor.level));
            for (level, set) in view.levels.iter().enumerate().skip(first) {
                let start = if level == first { start } else { Start { after: None, ..start } };
                take(&table, set, sort.into(), start, wanted - slots.len(), &mut slots);
                ends.push((slots.len(), u8::try_from(level).unwrap_or(u8::MAX)));
            }
        } else {
            take(&table, &view.matches, sort.into(), start, wanted, &mut slots);
        }
        let more = slots.len() > query.limit;
        slots.truncate(query.limit);
        let next = slots.last().filter(|_| more).map(|last| {
            let level = ends.iter().find(|(end, _)| *end >= slots.len()).map_or(0, |(_, level)| *level);
            let by = crate::page::Direction::from(sort).by;
            let cursor =
                Cursor { key: table.columns.key(by, *last), id: table.columns.id(*last), level, fuzzy };
            cursor.write(query, &filter.words, sort)
        });
        let ids = slots.into_iter().map(|slot| table.columns.id(slot)).collect();
        Ok(Page { ids, total: view.matches.len(), next, facets: view.facets(&table) })
    }

    /// In which words slips of the finger have to be forgiven so that something is found.
    fn forgive(&self, table: &Table, words: &[String]) -> u16 {
        let bits = |chosen: &dyn Fn(&String) -> bool| {
            (0..)
                .zip(words)
                .filter(|(_, word)| chosen(word))
                .fold(0, |bits: u16, (nth, _): (u32, _)| bits | 1 << nth)
        };
        let long = |word: &String| allowed(word) > 0;
        let needed = bits(&|word| long(word) && !table.dictionary.has_beginning(word));
        let most = bits(&long);
        // One word that is there is enough to find something.
        if needed == most
            || words.len() == 1
            || !self.view(table, &Filter::of_words(words, needed)).matches.is_empty()
        {
            return needed;
        }
        most
    }

    /// The view of a filter, remembered or made.
    fn view(&self, table: &Table, filter: &Filter) -> Arc<View> {
        if let Some(view) = self.views().get(filter) {
            return view;
        }
        let words = (!filter.words.is_empty() && filter.kinds() != 0)
            .then(|| self.view(table, &Filter::of_words(&filter.words, filter.fuzzy)));
        let view = Arc::new(View::compute(table, filter.clone(), words.as_deref()));
        self.views().add(&view);
        view
    }
}

/// What a query asks for, by numbers. Categories and shops that nobody has heard of have none.
fn resolve(table: &Table, query: &Query, words: Vec<String>, fuzzy: u16) -> Filter {
    let numbers = |asked: usize, known: &mut dyn Iterator<Item = u32>| {
        (asked > 0).then(|| {
            let mut known: Vec<u32> = known.collect();
            known.sort_unstable();
            known.dedup();
            known
        })
    };
    let price = match (query.min_price, query.max_price) {
        (None, None) => None,
        (low, high) => Some((low.unwrap_or(i64::MIN), high.unwrap_or(i64::MAX))),
    };
    Filter {
        words,
        fuzzy,
        categories: numbers(
            query.categories.len(),
            &mut query.categories.iter().filter_map(|name| table.category(name)),
        ),
        shops: numbers(query.shops.len(), &mut query.shops.iter().filter_map(|id| table.shop(id))),
        price,
        rating: query.min_rating.unwrap_or(0),
        in_stock: query.in_stock,
    }
}
