import { allDeviceConformance } from '../../../packages/hub/test/device-conformance.fixture.ts';

allDeviceConformance('all');
