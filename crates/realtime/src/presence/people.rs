//! Who is online, here and elsewhere, and which sockets are to be told what: rules without I/O and
//! without a clock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem::take,
    sync::Arc,
    time::Duration,
};

use socketioxide::socket::Sid;
use tokio::time::Instant;

use super::nodes::{Elsewhere, Fact, Name, Nodes};

/// Who is connected to this node, and what it knows of the others.
pub(crate) struct People {
    here: BTreeMap<Name, Person>,
    /// Those with people.
    sockets: HashMap<Sid, Socket>,
    nodes: Nodes,
    /// Everybody who is online, and on how many nodes.
    online: BTreeMap<Name, usize>,
    /// Above so many people online each socket is told of its contacts only.
    limit: usize,
    /// The last announcement was of everybody, to everybody.
    wide: bool,
    /// Who came online or went offline since the last announcement.
    changed: BTreeSet<Name>,
    /// Sockets to be told whatever has changed.
    due: HashSet<Sid>,
    /// Who came to this node or left it since the others were last told.
    stirred: BTreeSet<Name>,
    /// Whose last socket is gone, but not for long.
    fading: BTreeMap<Name, Instant>,
    /// The people here who have somebody for a contact.
    watchers: HashMap<Name, BTreeSet<Name>>,
    /// The people here whose contacts have not been looked up.
    strangers: BTreeSet<Name>,
}

/// Somebody who is connected to this node, or was just now.
#[derive(Default)]
struct Person {
    sockets: BTreeSet<Sid>,
    /// Whom they share a conversation with.
    contacts: BTreeSet<Name>,
}

struct Socket {
    /// A user's and a shop's, perhaps.
    people: Vec<Name>,
    /// A digest of the list that it was told last.
    told: Option<u64>,
}

/// The people each of these shares a conversation with.
pub(crate) type Contacts = HashMap<String, BTreeSet<String>>;

impl People {
    pub(crate) fn new(node: String, silence: Duration, limit: usize) -> Self {
        Self {
            here: BTreeMap::new(),
            sockets: HashMap::new(),
            nodes: Nodes::new(node, silence),
            online: BTreeMap::new(),
            limit,
            wide: true,
            changed: BTreeSet::new(),
            due: HashSet::new(),
            stirred: BTreeSet::new(),
            fading: BTreeMap::new(),
            watchers: HashMap::new(),
            strangers: BTreeSet::new(),
        }
    }

    /// A socket is somebody's.
    pub(crate) fn join(&mut self, sid: Sid, person: &str) {
        let name = self.name(person);
        let socket = self.sockets.entry(sid).or_insert(Socket { people: Vec::new(), told: None });
        if !socket.people.contains(&name) {
            socket.people.push(Arc::clone(&name));
        }
        self.due.insert(sid);
        self.fading.remove(&name);
        let known = self.here.contains_key(&name);
        self.here.entry(Arc::clone(&name)).or_default().sockets.insert(sid);
        if !known {
            self.strangers.insert(Arc::clone(&name));
            self.stirred.insert(Arc::clone(&name));
            self.came(name);
        }
    }

    /// A socket is gone.
    pub(crate) fn leave(&mut self, sid: Sid, now: Instant) {
        self.due.remove(&sid);
        let Some(socket) = self.sockets.remove(&sid) else { return };
        for name in socket.people {
            let Some(person) = self.here.get_mut(&name) else { continue };
            person.sockets.remove(&sid);
            if person.sockets.is_empty() {
                self.fading.insert(name, now);
            }
        }
    }

    /// Those whose last socket has been gone for so long have left. A page that is loaded anew is
    /// back before that, here or on another node.
    pub(crate) fn settle(&mut self, now: Instant, after: Duration) {
        let gone = |since: &Instant| now.saturating_duration_since(*since) >= after;
        let left: Vec<Name> =
            self.fading.iter().filter(|(_, since)| gone(since)).map(|(name, _)| Arc::clone(name)).collect();
        for name in left {
            self.fading.remove(&name);
            self.strangers.remove(&name);
            for contact in self.here.remove(&name).map(|person| person.contacts).unwrap_or_default() {
                if let Some(watchers) = self.watchers.get_mut(&contact) {
                    watchers.remove(&name);
                    if watchers.is_empty() {
                        self.watchers.remove(&contact);
                    }
                }
            }
            self.stirred.insert(Arc::clone(&name));
            self.left(&name);
        }
        let here = &self.here;
        self.nodes.tell(take(&mut self.stirred), |person| here.contains_key(person));
    }

    /// There is somebody to settle later.
    pub(crate) fn unsettled(&self) -> bool {
        !self.fading.is_empty()
    }

    /// Another node has said something.
    pub(crate) fn hear(&mut self, from: &str, fact: Fact, now: Instant) {
        let changes = self.nodes.hear(from, fact, now);
        self.elsewhere(changes);
    }

    /// Gives up nodes that have been silent for too long: how many.
    pub(crate) fn bury(&mut self, now: Instant) -> usize {
        let (dead, changes) = self.nodes.bury(now);
        self.elsewhere(changes);
        dead
    }

    fn elsewhere(&mut self, changes: Vec<Elsewhere>) {
        for change in changes {
            match change {
                Elsewhere::Came(name) => {
                    let name = self.name(&name);
                    self.came(name);
                }
                Elsewhere::Left(name) => self.left(&name),
            }
        }
    }

    /// What this node says of itself.
    pub(crate) fn nodes(&mut self) -> &mut Nodes {
        &mut self.nodes
    }

    /// No other node is known.
    pub(crate) fn alone(&self) -> bool {
        self.nodes.alone()
    }

    /// How many people and sockets are here, and how many people are online anywhere.
    pub(crate) fn count(&self) -> (usize, usize, usize) {
        (self.here.len(), self.sockets.len(), self.online.len())
    }

    /// One text for each name, however many remember it.
    fn name(&self, name: &str) -> Name {
        self.online.get_key_value(name).map_or_else(|| Name::from(name), |(known, _)| Arc::clone(known))
    }

    fn came(&mut self, name: Name) {
        let nodes = self.online.entry(Arc::clone(&name)).or_default();
        *nodes += 1;
        if *nodes == 1 {
            self.changed.insert(name);
        }
    }

    fn left(&mut self, name: &Name) {
        let Some(nodes) = self.online.get_mut(name) else { return };
        *nodes = nodes.saturating_sub(1);
        if *nodes == 0 {
            self.online.remove(name);
            self.changed.insert(Arc::clone(name));
        }
    }

    fn is_wide(&self) -> bool {
        self.online.len() <= self.limit
    }

    /// These have a new conversation, and so somebody new to look for.
    pub(crate) fn acquainted(&mut self, members: &[String]) {
        for member in members {
            let others = members.iter().filter(|other| *other != member);
            self.learn(member, others);
        }
    }

    /// Some of those whose contacts must be looked up before their sockets can be told.
    pub(crate) fn unknown(&self, some: usize) -> BTreeSet<String> {
        if self.is_wide() {
            return BTreeSet::new();
        }
        self.strangers.iter().take(some).map(|name| name.as_ref().to_owned()).collect()
    }

    /// The contacts of all of these were looked up.
    pub(crate) fn know(&mut self, people: &BTreeSet<String>, contacts: &Contacts) {
        for person in people {
            self.strangers.remove(person.as_str());
            self.learn(person, contacts.get(person).into_iter().flatten());
        }
    }

    /// Members of conversations never change, so contacts only ever come along.
    fn learn<'a>(&mut self, person: &str, contacts: impl Iterator<Item = &'a String>) {
        let Some((name, _)) = self.here.get_key_value(person) else { return };
        let name = Arc::clone(name);
        let contacts: Vec<Name> = contacts.map(|contact| self.name(contact)).collect();
        let Some(known) = self.here.get_mut(&name) else { return };
        self.due.extend(&known.sockets);
        for contact in contacts {
            if known.contacts.insert(Arc::clone(&contact)) {
                self.watchers.entry(contact).or_default().insert(Arc::clone(&name));
            }
        }
    }

    /// The sockets that may have to be told something new.
    pub(crate) fn take_due(&mut self) -> Vec<Sid> {
        let (changed, mut due) = (take(&mut self.changed), take(&mut self.due));
        let wide = self.is_wide();
        let crossed = wide != self.wide;
        self.wide = wide;
        if crossed || (wide && !changed.is_empty()) {
            due.extend(self.sockets.keys());
        } else {
            for name in &changed {
                let watchers = self.watchers.get(name).into_iter().flatten();
                let concerned = watchers.chain([name]).filter_map(|person| self.here.get(person));
                due.extend(concerned.flat_map(|person| &person.sockets));
            }
        }
        due.into_iter().collect()
    }

    /// A socket could not be told.
    pub(crate) fn again(&mut self, sid: Sid) {
        if let Some(socket) = self.sockets.get_mut(&sid) {
            socket.told = None;
            self.due.insert(sid);
        }
    }

    /// The people of a socket whose contacts must be looked up before it can be told anything.
    pub(crate) fn of(&self, sid: Sid) -> BTreeSet<String> {
        let people = self.sockets.get(&sid).map(|socket| socket.people.as_slice()).unwrap_or_default();
        people.iter().filter(|_| !self.is_wide()).map(|name| name.as_ref().to_owned()).collect()
    }

    /// Whom a socket is to be told of. Nothing if that is what it was told last, unless it asks; and
    /// nothing yet if it is not known whom it may be told of.
    pub(crate) fn list(&mut self, sid: Sid, asks: bool) -> Option<Vec<Name>> {
        let list: Vec<Name> = if self.is_wide() {
            self.online.keys().cloned().collect()
        } else {
            let people = &self.sockets.get(&sid)?.people;
            if people.iter().any(|name| self.strangers.contains(name)) {
                return None;
            }
            // One socket may be a user's and a shop's: it gets one list with the contacts of both.
            let theirs = people.iter().filter_map(|name| self.here.get(name)).flat_map(|one| &one.contacts);
            let online = theirs.chain(people).filter(|name| self.online.contains_key(*name));
            online.cloned().collect::<BTreeSet<Name>>().into_iter().collect()
        };
        let mut digest = DefaultHasher::new();
        list.hash(&mut digest);
        let digest = Some(digest.finish());
        let socket = self.sockets.get_mut(&sid)?;
        let news = socket.told != digest;
        socket.told = digest;
        (news || asks).then_some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATHER: Duration = Duration::from_millis(100);

    struct Story {
        people: People,
        now: Instant,
    }

    impl Story {
        fn of(limit: usize) -> Self {
            let people = People::new("own".into(), Duration::from_secs(20), limit);
            Self { people, now: Instant::now() }
        }

        fn join(&mut self, person: &str) -> Sid {
            let sid = Sid::new();
            self.people.join(sid, person);
            sid
        }

        fn settle(&mut self) {
            self.now += GATHER;
            self.people.settle(self.now, GATHER);
        }

        fn leave(&mut self, sid: Sid) {
            self.people.leave(sid, self.now);
        }

        /// Looks contacts up, and says who is told what.
        fn announce(&mut self, contacts: &[(&str, &str)]) -> HashMap<Sid, String> {
            self.settle();
            let unknown = self.people.unknown(100);
            let mut known = Contacts::new();
            for (one, other) in contacts {
                known.entry((*one).into()).or_default().insert((*other).into());
                known.entry((*other).into()).or_default().insert((*one).into());
            }
            self.people.know(&unknown, &known);
            let due = self.people.take_due();
            due.into_iter().filter_map(|sid| Some((sid, self.people.list(sid, false)?.join(" ")))).collect()
        }

        fn elsewhere(&mut self, after: u64, came: &[&str], left: &[&str]) {
            let names = |names: &[&str]| names.iter().map(|name| Name::from(*name)).collect();
            let fact = Fact::Changed { after, came: names(came), left: names(left) };
            self.people.hear("other", fact, self.now);
        }
    }

    fn told<const N: usize>(what: [(Sid, &str); N]) -> HashMap<Sid, String> {
        what.into_iter().map(|(sid, list)| (sid, list.to_owned())).collect()
    }

    #[test]
    fn a_person_is_online_from_the_first_socket_to_the_last_over_all_nodes() {
        let mut story = Story::of(10);
        let watcher = story.join("watcher");
        let (one, two) = (story.join("ann"), story.join("ann"));
        assert_eq!(story.announce(&[])[&watcher], "ann watcher");
        story.elsewhere(0, &["ann"], &[]);
        story.leave(one);
        assert_eq!(story.announce(&[]), told([]));
        story.leave(two);
        assert_eq!(story.announce(&[]), told([]), "still on the other node");
        story.elsewhere(1, &[], &["ann"]);
        assert_eq!(story.announce(&[]), told([(watcher, "watcher")]));
    }

    #[test]
    fn nobody_is_told_the_same_twice_in_a_row_unless_they_ask() {
        let mut story = Story::of(10);
        let ann = story.join("ann");
        assert_eq!(story.announce(&[]), told([(ann, "ann")]));
        let second = story.join("ann");
        assert_eq!(story.announce(&[]), told([(second, "ann")]));
        assert_eq!(story.people.list(ann, false), None);
        assert_eq!(story.people.list(ann, true), Some(vec!["ann".into()]));
        // Comes and goes between two announcements.
        let bob = story.join("bob");
        story.leave(bob);
        assert_eq!(story.announce(&[]), told([]));
    }

    #[test]
    fn who_is_back_within_the_time_of_gathering_never_left() {
        let mut story = Story::of(10);
        let (ann, bob) = (story.join("ann"), story.join("bob"));
        story.announce(&[]);
        story.leave(bob);
        story.people.settle(story.now + GATHER / 2, GATHER);
        assert!(story.people.unsettled());
        let bob = story.join("bob");
        assert_eq!(story.announce(&[]), told([(bob, "ann bob")]));
        story.leave(bob);
        assert_eq!(story.announce(&[]), told([(ann, "ann")]));
        assert!(!story.people.unsettled());
    }

    #[test]
    fn above_the_limit_each_is_told_of_contacts_and_lists_stay_right_when_it_is_crossed() {
        let contacts = [("ann", "shop"), ("bob", "shop")];
        let mut story = Story::of(2);
        let (ann, bob) = (story.join("ann"), story.join("bob"));
        assert_eq!(story.announce(&contacts), told([(ann, "ann bob"), (bob, "ann bob")]));
        let eve = story.join("eve");
        assert_eq!(story.announce(&contacts), told([(ann, "ann"), (bob, "bob"), (eve, "eve")]));
        // On another node.
        story.elsewhere(0, &["shop"], &[]);
        assert_eq!(story.announce(&contacts), told([(ann, "ann shop"), (bob, "bob shop")]));
        story.leave(bob);
        assert_eq!(story.announce(&contacts), told([]), "no contact of theirs");
        story.elsewhere(1, &[], &["shop"]);
        assert_eq!(story.announce(&contacts), told([(ann, "ann eve"), (eve, "ann eve")]));
        let bob = story.join("bob");
        assert_eq!(story.announce(&contacts), told([(ann, "ann"), (bob, "bob"), (eve, "eve")]));
        // Who became acquainted below the limit was not forgotten.
        story.elsewhere(2, &["shop"], &[]);
        assert_eq!(story.announce(&contacts), told([(ann, "ann shop"), (bob, "bob shop")]));
        assert!(story.people.unknown(1).is_empty(), "each is looked up once");
    }

    #[test]
    fn a_new_conversation_shows_its_members_to_each_other() {
        let mut story = Story::of(0);
        let (ann, bob) = (story.join("ann"), story.join("bob"));
        assert_eq!(story.announce(&[]), told([(ann, "ann"), (bob, "bob")]));
        story.people.acquainted(&["ann".into(), "bob".into()]);
        assert_eq!(story.announce(&[]), told([(ann, "ann bob"), (bob, "ann bob")]));
        // It comes while contacts are being looked up, and the look-up does not know of it.
        let eve = story.join("eve");
        story.people.acquainted(&["eve".into(), "ann".into()]);
        assert_eq!(story.announce(&[]), told([(ann, "ann bob eve"), (eve, "ann eve")]));
    }

    #[test]
    fn a_socket_may_be_two_peoples() {
        let mut story = Story::of(0);
        let sid = story.join("ann");
        story.people.join(sid, "anns shop");
        story.join("bob");
        let contacts = [("anns shop", "bob")];
        assert_eq!(story.announce(&contacts)[&sid], "ann anns shop bob");
    }

    #[test]
    fn a_socket_whose_contacts_are_not_known_yet_waits() {
        let mut story = Story::of(0);
        let ann = story.join("ann");
        assert_eq!(story.people.take_due(), [ann]);
        assert_eq!(story.people.list(ann, true), None);
        story.people.know(&story.people.of(ann), &Contacts::new());
        assert_eq!(story.people.take_due(), [ann]);
        assert_eq!(story.people.list(ann, false), Some(vec!["ann".into()]));
    }

    /// The bytes of all lists while 1,000 people come, each the contact of another, with so many sockets each and so many people at
    /// once, and the limit that is the default.
    fn traffic(sockets: usize, at_once: usize) -> usize {
        let config = shared::config::Config::read(|_| None).unwrap();
        let mut story = Story::of(config.presence_broadcast_limit);
        let name = |i: usize| format!("{i:024x}");
        let mut bytes = 0;
        let everybody: Vec<usize> = (0..1_000).collect();
        for some in everybody.chunks(at_once) {
            for (person, _) in some.iter().flat_map(|i| vec![(name(*i), ()); sockets]) {
                story.join(&person);
            }
            story.settle();
            let unknown = story.people.unknown(1_000);
            let contact = |one: &String| {
                let i = usize::from_str_radix(one, 16).unwrap();
                (one.clone(), BTreeSet::from([name(i ^ 1)]))
            };
            story.people.know(&unknown, &unknown.iter().map(contact).collect());
            for sid in story.people.take_due() {
                let Some(list) = story.people.list(sid, false) else { continue };
                let list: Vec<_> = list.iter().map(|name| crate::wire::Online::of(name)).collect();
                bytes += serde_json::json!(["getUsers", list]).to_string().len() + "42".len();
            }
        }
        bytes
    }

    #[test]
    fn a_thousand_people_who_connect_cost_less_than_5_mb_of_presence() {
        for (sockets, at_once) in [(1, 1), (2, 1), (1, 30), (2, 30), (2, 1_000)] {
            let bytes = traffic(sockets, at_once);
            assert!(bytes < 5_000_000, "{bytes} bytes with {sockets} sockets each, {at_once} people at once");
        }
    }

    #[test]
    fn whoever_leaves_leaves_nothing_behind() {
        let mut story = Story::of(0);
        let sids = [story.join("ann"), story.join("bob")];
        story.announce(&[("ann", "bob"), ("bob", "eve")]);
        sids.into_iter().for_each(|sid| story.leave(sid));
        story.announce(&[]);
        let people = story.people;
        assert!(people.here.is_empty() && people.sockets.is_empty() && people.online.is_empty());
        assert!(people.watchers.is_empty() && people.due.is_empty() && people.strangers.is_empty());
    }
}
