//! Draws flat pictures out of rows of one colour each: quick also in an unoptimised build, where
//! work on single pixels would take seconds.

use image::{DynamicImage, RgbImage};

/// Width and height of the canvas; coordinates run from 0 to here.
pub(super) const SIZE: i32 = 1200;
/// Width and height of the finished picture: half, so that edges come out smooth.
const FINISHED: u32 = 600;

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// A colour by hue (in degrees), saturation and lightness (in per cent).
pub(super) fn hsl(hue: i32, saturation: i32, lightness: i32) -> Colour {
    let hue = hue.rem_euclid(360);
    let chroma = (100 - (2 * lightness - 100).abs()) * saturation / 100;
    let second = chroma * (60 - (hue % 120 - 60).abs()) / 60;
    let (r, g, b) = match hue / 60 {
        0 => (chroma, second, 0),
        1 => (second, chroma, 0),
        2 => (0, chroma, second),
        3 => (0, second, chroma),
        4 => (second, 0, chroma),
        _ => (chroma, 0, second),
    };
    [r, g, b].map(|part| byte((2 * lightness - chroma + 2 * part) * 255 / 200))
}

fn byte(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).unwrap_or_default()
}

/// `part / whole` of the way from one colour to another.
fn mix(from: Colour, to: Colour, part: i32, whole: i32) -> Colour {
    let [r, g, b] = from;
    let [tr, tg, tb] = to;
    let step = |a: u8, b: u8| {
        let (a, b) = (i32::from(a), i32::from(b));
        byte(a + (b - a) * part / whole.max(1))
    };
    [step(r, tr), step(g, tg), step(b, tb)]
}

/// What a shape is filled with.
#[derive(Clone, Copy)]
pub(super) enum Paint {
    /// One colour.
    Flat(Colour),
    /// From the shape's top to its bottom.
    Fade(Colour, Colour),
    /// So many per cent of a colour over the background, hiding what else is there.
    Veil(Colour, i32),
}

/// A picture in the making.
pub(super) struct Canvas {
    pixels: Vec<u8>,
    top: Colour,
    bottom: Colour,
}

impl Canvas {
    /// Filled from top to bottom.
    pub(super) fn new(top: Colour, bottom: Colour) -> Self {
        let side = usize::try_from(SIZE).unwrap_or_default();
        let mut canvas = Self { pixels: vec![0; side * side * 3], top, bottom };
        for y in 0..SIZE {
            canvas.row(y, 0, SIZE, canvas.background(y));
        }
        canvas
    }

    fn background(&self, y: i32) -> Colour {
        mix(self.top, self.bottom, y, SIZE)
    }

    /// Fills one row from `left` up to `right`.
    fn row(&mut self, y: i32, left: i32, right: i32, colour: Colour) {
        let (left, right) = (left.clamp(0, SIZE), right.clamp(0, SIZE));
        if !(0..SIZE).contains(&y) || left >= right {
            return;
        }
        let at = |x: i32| usize::try_from((y * SIZE + x) * 3).unwrap_or_default();
        if let Some(pixels) = self.pixels.get_mut(at(left)..at(right)) {
            let length = pixels.len() / 3;
            pixels.copy_from_slice(&colour.repeat(length));
        }
    }

    fn colour(&self, paint: Paint, y: i32, top: i32, bottom: i32) -> Colour {
        match paint {
            Paint::Flat(colour) => colour,
            Paint::Fade(from, to) => mix(from, to, (y - top).max(0), bottom - top),
            Paint::Veil(colour, percent) => mix(self.background(y), colour, percent, 100),
        }
    }

    /// An ellipse by its middle and half axes.
    pub(super) fn ellipse(&mut self, (x, y): (i32, i32), (rx, ry): (i32, i32), paint: Paint) {
        for row in y - ry..=y + ry {
            let half = half_chord(rx, ry, row - y);
            let colour = self.colour(paint, row, y - ry, y + ry);
            self.row(row, x - half, x + half + 1, colour);
        }
    }

    /// A circle with a hole.
    pub(super) fn ring(&mut self, (x, y): (i32, i32), outer: i32, inner: i32, paint: Paint) {
        for row in y - outer..=y + outer {
            let half = half_chord(outer, outer, row - y);
            let hole = if (row - y).abs() <= inner { half_chord(inner, inner, row - y) } else { 0 };
            let colour = self.colour(paint, row, y - outer, y + outer);
            self.row(row, x - half, x - hole, colour);
            self.row(row, x + hole, x + half, colour);
        }
    }

    /// The upper half of a ring.
    pub(super) fn arch(&mut self, (x, y): (i32, i32), outer: i32, inner: i32, paint: Paint) {
        for row in y - outer..=y {
            let half = half_chord(outer, outer, row - y);
            let hole = if (row - y).abs() <= inner { half_chord(inner, inner, row - y) } else { 0 };
            let colour = self.colour(paint, row, y - outer, y);
            self.row(row, x - half, x - hole, colour);
            self.row(row, x + hole, x + half, colour);
        }
    }

    /// A rectangle by two corners, with rounded ones.
    pub(super) fn block(&mut self, (x0, y0): (i32, i32), (x1, y1): (i32, i32), radius: i32, paint: Paint) {
        for row in y0..y1 {
            let into_corner = (y0 + radius - row).max(row + 1 - (y1 - radius)).max(0);
            let inset = radius - half_chord(radius, radius, into_corner);
            let colour = self.colour(paint, row, y0, y1);
            self.row(row, x0 + inset, x1 - inset, colour);
        }
    }

    /// A polygon by its corners.
    pub(super) fn polygon(&mut self, corners: &[(i32, i32)], paint: Paint) {
        let rows = corners.iter().map(|corner| corner.1);
        let (Some(top), Some(bottom)) = (rows.clone().min(), rows.max()) else { return };
        let edges = || corners.iter().zip(corners.iter().cycle().skip(1));
        for row in top..bottom {
            let mut crossings: Vec<i32> = edges()
                .filter(|((_, ya), (_, yb))| (*ya <= row) != (*yb <= row))
                .map(|((xa, ya), (xb, yb))| xa + (row - ya) * (xb - xa) / (yb - ya))
                .collect();
            crossings.sort_unstable();
            let colour = self.colour(paint, row, top, bottom);
            for pair in crossings.chunks_exact(2) {
                if let [left, right] = pair {
                    self.row(row, *left, *right, colour);
                }
            }
        }
    }

    /// A line with round ends.
    pub(super) fn line(&mut self, from: (i32, i32), to: (i32, i32), width: i32, colour: Colour) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = (dx * dx + dy * dy).isqrt().max(1);
        let (nx, ny) = (-dy * width / (2 * length), dx * width / (2 * length));
        let paint = Paint::Flat(colour);
        self.polygon(
            &[
                (from.0 + nx, from.1 + ny),
                (to.0 + nx, to.1 + ny),
                (to.0 - nx, to.1 - ny),
                (from.0 - nx, from.1 - ny),
            ],
            paint,
        );
        self.ellipse(from, (width / 2, width / 2), paint);
        self.ellipse(to, (width / 2, width / 2), paint);
    }

    /// The finished picture.
    pub(super) fn finish(self) -> anyhow::Result<DynamicImage> {
        let side = u32::try_from(SIZE)?;
        let picture = RgbImage::from_raw(side, side, self.pixels)
            .ok_or_else(|| anyhow::anyhow!("the canvas has the wrong size"))?;
        Ok(DynamicImage::ImageRgb8(picture).thumbnail_exact(FINISHED, FINISHED))
    }
}

/// Half the width of an ellipse, so far from its middle.
fn half_chord(rx: i32, ry: i32, distance: i32) -> i32 {
    let (rx, ry, distance) = (i64::from(rx), i64::from(ry), i64::from(distance));
    let squared = (ry * ry - distance * distance).max(0);
    i32::try_from(rx * (squared * 256).isqrt() / (ry.max(1) * 16)).unwrap_or_default()
}
