import { test } from 'vitest';
import { fuzzGatewayFrames } from './gateway-frames.ts';
import { fuzzGatewayUpgrade } from './gateway-upgrade.ts';

test('60 streams of good and bad frames', () => fuzzGatewayFrames(1, 60), 30_000);

test('30 more, by the plain way', () => fuzzGatewayFrames(2, 30, true), 30_000);

test('150 wrong upgrade requests', () => fuzzGatewayUpgrade(1, 150), 30_000);
