//! A table of things behind small numbers that are never mistaken for a later tenant of the same place.

/// Names one thing for its whole life: its place, and which tenant of the place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) place: u32,
    pub(crate) tenant: u32,
}

/// Boxed things by [`Key`]; a place is used again after its tenant has left.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    tenant: u32,
    thing: Option<Box<T>>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }

    /// The key that the next [`Slab::put`] will use.
    pub(crate) fn reserve(&mut self) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { tenant: 0, thing: None });
            (self.places.len() - 1) as u32
        });
        Key { place, tenant: self.places[place as usize].tenant }
    }

    /// Fills a reserved place, or puts a thing back that was taken out.
    pub(crate) fn put(&mut self, key: Key, thing: Box<T>) {
        let place = &mut self.places[key.place as usize];
        debug_assert!(place.tenant == key.tenant && place.thing.is_none());
        place.thing = Some(thing);
    }

    /// Takes a thing out to work on it; [`Slab::put`] or [`Slab::release`] must follow.
    pub(crate) fn take(&mut self, key: Key) -> Option<Box<T>> {
        let place = self.places.get_mut(key.place as usize)?;
        if place.tenant == key.tenant { place.thing.take() } else { None }
    }

    /// Ends a tenancy whose thing was taken out.
    pub(crate) fn release(&mut self, key: Key) {
        let place = &mut self.places[key.place as usize];
        debug_assert!(place.tenant == key.tenant && place.thing.is_none());
        place.tenant = place.tenant.wrapping_add(1) & 0x3fff_ffff;
        self.free.push(key.place);
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.place as usize)?;
        if place.tenant == key.tenant { place.thing.as_deref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.place as usize)?;
        if place.tenant == key.tenant { place.thing.as_deref_mut() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_former_tenant_opens_nothing() {
        let mut slab = Slab::new();
        let first = slab.reserve();
        slab.put(first, Box::new('a'));
        assert_eq!(slab.take(first).as_deref(), Some(&'a'));
        slab.release(first);
        let second = slab.reserve();
        slab.put(second, Box::new('b'));
        assert_eq!(second.place, first.place);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
    }
}
