import { allDeviceConformance } from './device-conformance.fixture.ts';

// The thousand offers of each pair are in tests/system/slow: with 28 pairs they took most of this file's time.
allDeviceConformance('first of each transport');
