//! How many of something are open, in all and for each address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::arrival::household;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are as many as there may be.
    All,
    /// This address has as many as one may have.
    Address,
}

/// Counts what is open.
#[derive(Debug)]
pub struct Tally {
    open: Mutex<Open>,
    most: usize,
    most_of_one: usize,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

impl Tally {
    /// Of so many at most, and so many from one address.
    pub fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), most, most_of_one })
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Takes a place until it is dropped. Without an address it counts in all only.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        let address = address.map(household);
        self.count(address)?;
        Ok(Place { tally: Arc::clone(self), address, width: 1 })
    }

    /// Counts one more, of a household.
    fn count(&self, address: Option<IpAddr>) -> Result<(), Full> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.most {
            return Err(Full::All);
        }
        if let Some(address) = address {
            let of_one = open.of.entry(address).or_default();
            if *of_one >= self.most_of_one {
                return Err(Full::Address);
            }
            *of_one += 1;
        }
        open.all += 1;
        Ok(())
    }
}

/// One of what a [`Tally`] counts.
#[derive(Debug)]
pub struct Place {
    tally: Arc<Tally>,
    address: Option<IpAddr>,
    /// For how many it counts.
    width: usize,
}

impl Place {
    /// Takes the place of one more.
    pub fn widen(&mut self) -> Result<(), Full> {
        self.tally.count(self.address)?;
        self.width += 1;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.tally.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(self.width);
        if let Some(address) = self.address
            && let Some(of_one) = open.of.get_mut(&address)
        {
            *of_one = of_one.saturating_sub(self.width);
            if *of_one == 0 {
                open.of.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn places_are_counted_in_all_and_for_each_address_and_come_back() {
        let tally = Tally::new(4, 2);
        let first = tally.take(at("10.0.0.1")).unwrap();
        let _second = tally.take(at("::ffff:10.0.0.1")).unwrap();
        assert_eq!(tally.take(at("10.0.0.1")).unwrap_err(), Full::Address);
        let _third = tally.take(at("10.0.0.2")).unwrap();
        let nobodys = tally.take(None).unwrap();
        assert_eq!(tally.take(at("10.0.0.3")).unwrap_err(), Full::All);
        drop(nobodys);
        drop(first);
        let _fourth = tally.take(at("10.0.0.1")).unwrap();
        assert_eq!(tally.take(at("10.0.0.1")).unwrap_err(), Full::Address);
    }

    #[test]
    fn a_place_may_count_for_several() {
        let tally = Tally::new(4, 3);
        let mut wide = tally.take(at("10.0.0.1")).unwrap();
        wide.widen().unwrap();
        wide.widen().unwrap();
        assert_eq!(wide.widen(), Err(Full::Address));
        let mut other = tally.take(at("10.0.0.2")).unwrap();
        assert_eq!(other.widen(), Err(Full::All));
        drop(wide);
        assert_eq!(tally.open(), 1, "what was refused does not count");
        other.widen().unwrap();
        drop(other);
        assert_eq!(tally.open(), 0);
        assert!(tally.open.lock().unwrap().of.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let tally = Tally::new(10, 1);
        let place = tally.take(at("2001:db8::1")).unwrap();
        assert!(tally.take(at("2001:db8::ffff:2")).is_err());
        assert!(tally.take(at("2001:db8:0:1::1")).is_ok());
        drop(place);
        assert!(tally.take(at("2001:db8::3")).is_ok());
        assert!(tally.open.lock().unwrap().of.is_empty(), "nothing is remembered of those who left");
    }
}
