//! Pictures for uploads.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

/// A small valid PNG.
pub fn png() -> Vec<u8> {
    picture(ImageFormat::Png, 4, 4)
}

/// A small valid JPEG.
pub fn jpeg() -> Vec<u8> {
    picture(ImageFormat::Jpeg, 8, 8)
}

/// A valid picture of any size, one colour.
pub fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb([200, 120, 40])).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}
